"""The simulator's units of time."""

BLOCK = 900
"""Seconds in a block. Blocks begin at whole multiples of it, for all callers alike."""

SLOW_STEP = 10
"""Seconds between two readings of a slow metric; the others are reported with every packet."""
