"""Template tags of the app `accounts`."""
