"""The parts of a request that all wires share: its authorisation, its body, its limits, its refusal."""
