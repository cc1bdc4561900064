"""The background worker: imports, roll-ups, retention, backups, and clean-up."""
