"""A believable home with a roof, a battery and a grid meter, as data and as a client of ingest.

`noise`, `sun`, `weather`, `appliances`, `battery` and `home` are the model: NumPy only, and the same
answer for the same (seed, time). `devices` says which device reports what. `backfill` writes the past
into the database; `fleet`, `outbox` and `client` send the present over HTTP.
"""
