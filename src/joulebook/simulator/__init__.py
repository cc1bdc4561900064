"""A simulated home with a roof, a battery and a grid meter: its past as readings, its present as packets.

`noise`, `sun`, `weather`, `appliances`, `battery` and `home` are the model: NumPy only, and the same answer
for the same (seed, time). `devices` lists each device's metrics. `backfill` writes the past into the
database; `fleet` and `run` send the present over HTTP, through `joulebook.client`.
"""
