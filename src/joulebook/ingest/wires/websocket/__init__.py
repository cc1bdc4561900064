"""Packets in JSON over a WebSocket."""
