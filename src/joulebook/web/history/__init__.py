"""Any range of a device's readings as a few hundred points."""
