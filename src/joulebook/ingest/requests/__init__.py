"""What the wires share: who may send, how bodies are read, and how a request is refused."""
