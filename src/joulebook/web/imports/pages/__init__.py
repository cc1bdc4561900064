"""The pages of imports: upload, draft, preview, run."""
