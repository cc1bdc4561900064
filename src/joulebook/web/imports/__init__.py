"""Files of readings that people brought: who, when, what, and what became of it."""
