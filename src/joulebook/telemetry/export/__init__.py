"""Readings out of the database again, whole: any range, block by block, as CSV, Arrow or Parquet."""
