"""Reads a logger's file: bytes in, readings and a list of rejected rows and cells out."""
