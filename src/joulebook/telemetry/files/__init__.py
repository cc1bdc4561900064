"""Bytes of a logger's file in, columns of readings and a list of what was not readable out."""
