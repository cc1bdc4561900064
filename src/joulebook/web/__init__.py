"""The web: accounts, devices, history, imports, and their API. Django, with read-only rights on readings."""
