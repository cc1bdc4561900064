"""Measurements, side by side in one run, as ratios against a named reference: `python -m benchmarks`."""
