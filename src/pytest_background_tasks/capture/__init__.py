"""Noticing and holding background tasks, on any loop."""
