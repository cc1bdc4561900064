"""Energy by day, week or month: page and API."""
