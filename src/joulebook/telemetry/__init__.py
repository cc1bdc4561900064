"""The framework-free core: the rules of readings, their meaning, and the only code to write them."""
