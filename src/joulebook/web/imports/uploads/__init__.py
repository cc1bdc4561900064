"""Uploaded files: admission, storage, quotas, removal."""
