"""`joulebook move`: the history of another time-series database, as one import."""
