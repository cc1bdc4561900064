"""The management layer: who are you, and what may you see. Django, with the reader's rights only."""
