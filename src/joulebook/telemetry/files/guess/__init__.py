"""Guesses how a file is read from its beginning, with a reason for each setting."""
