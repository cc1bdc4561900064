"""Which devices a token writes for, and how much it may send."""
