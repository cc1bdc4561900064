"""Corrections of readings: who makes which, their queue, and what they would change."""
