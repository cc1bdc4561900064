"""`/api/imports` and `/api/import-profiles`."""
