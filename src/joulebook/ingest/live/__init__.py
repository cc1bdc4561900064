"""Committed readings as server-sent events."""
