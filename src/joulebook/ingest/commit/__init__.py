"""From columns to committed rows: series ids and group commit."""
