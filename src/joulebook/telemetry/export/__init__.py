"""Exports the readings of any range, block by block, as CSV, Arrow or Parquet."""
