"""Files that are no text tables: each format is recognised by its first bytes, and converted to CSV."""
