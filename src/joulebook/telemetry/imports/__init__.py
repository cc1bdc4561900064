"""Files being stored and taken back: framework-free, resumable, block by block."""
