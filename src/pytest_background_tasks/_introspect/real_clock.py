"""The real clock, whatever a test does to module ``time``.

This module is loaded when pytest starts, before a test can freeze time.
"""

import time

_clock = (time.monotonic,)  # freezegun replaces it wherever it is an attribute of a module
_pause = (time.sleep,)


def monotonic() -> float:
    """Return the seconds of the real `time.monotonic`."""
    return _clock[0]()


def let_others_run() -> None:
    """Release the interpreter's lock for a moment, so that a thread that waits for it runs."""
    _pause[0](0)
