"""Rollups: the summaries of each series' readings by minute, five minutes and hour."""
