"""Rollups: per series and minute, five minutes and hour, what the readings of that time come to."""
