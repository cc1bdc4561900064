"""The wires: protocols over which readings arrive. None of them knows another."""
