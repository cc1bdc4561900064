"""What may you see: devices, who owns them, with whom they are shared, and their tokens."""
