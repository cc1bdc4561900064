"""The API of imports: `/api/imports` and `/api/import-profiles`."""
