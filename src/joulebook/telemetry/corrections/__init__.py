"""Corrections: numbered edits of stored readings, each undone at any time and in any order."""
