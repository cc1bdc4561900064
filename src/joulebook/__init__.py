"""Joulebook: a self-hosted home for the readings of energy devices and sensors."""

__version__ = "0.1.0"
