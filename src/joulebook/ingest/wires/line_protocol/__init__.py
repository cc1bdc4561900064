"""InfluxDB's line protocol over HTTP."""
