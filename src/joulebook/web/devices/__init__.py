"""Devices: their owners and shares, their metrics' meaning, their tokens."""
