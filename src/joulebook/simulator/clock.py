"""How the simulator cuts time; imported by commands that must start quickly, so NumPy stays out."""

BLOCK = 900
"""Seconds in a block. Blocks begin at whole multiples of it, so every way of asking cuts time alike."""

SLOW_STEP = 10
"""Seconds between two readings of a slow metric; the others are reported with every packet."""
