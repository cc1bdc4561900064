"""Exports of readings: form and API."""
