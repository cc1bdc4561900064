"""Backup and restore: everything of a running Joulebook in one folder, and back."""
