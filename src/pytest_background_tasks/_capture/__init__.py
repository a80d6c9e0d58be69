"""Capturing: background tasks are recorded and held, on any loop."""
