"""Imports of uploaded files: drafts, the queue, reports, and saved profiles."""
