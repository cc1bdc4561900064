"""The framework-free core: what a reading is, and the only code that knows how to write readings."""
