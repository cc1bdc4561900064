"""Stores files and undoes imports: framework-free, resumable, block by block."""
