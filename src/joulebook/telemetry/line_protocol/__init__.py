"""InfluxDB line protocol: its syntax, and the names of its series. Ingest and imports share both."""
