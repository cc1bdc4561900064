"""Backup and restore: a folder with everything that a Joulebook cannot make again, taken while it runs."""
