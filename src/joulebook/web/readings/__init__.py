"""Series and readings as Django sees them, and the migrations that create them in TimescaleDB."""
