"""The pages of imports: upload, draft with entry, settings and preview, progress and report."""
