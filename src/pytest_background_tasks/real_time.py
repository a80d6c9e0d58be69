"""The real clock, whatever a test makes of time. Loaded when pytest starts, before anything can be frozen."""

import time

_clock = (time.monotonic,)  # freezegun replaces it wherever it is an attribute of a module


def monotonic() -> float:
    """As `time.monotonic`, in seconds."""
    return _clock[0]()
