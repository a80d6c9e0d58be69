"""The real clock, whatever a test makes of time. Loaded when pytest starts, before anything can be frozen."""

import time

_clock = (time.monotonic,)  # freezegun replaces it wherever it is an attribute of a module
_pause = (time.sleep,)


def monotonic() -> float:
    """As `time.monotonic`, in seconds."""
    return _clock[0]()


def let_others_run() -> None:
    """Give up the interpreter's lock for a moment, so that a thread that waits for it runs."""
    _pause[0](0)
