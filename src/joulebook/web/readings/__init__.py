"""Series and readings for Django, and the migrations creating them in TimescaleDB."""
