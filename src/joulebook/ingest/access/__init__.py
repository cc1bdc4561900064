"""Which devices a token may write for, and how much it may send."""
