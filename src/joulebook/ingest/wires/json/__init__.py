"""Packets in JSON over HTTP."""
