"""Template tags of the app `devices`."""
