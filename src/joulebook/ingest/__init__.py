"""The write side of the network: devices send readings, and are told what became of them."""
