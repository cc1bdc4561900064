"""The meaning of a metric's numbers."""
