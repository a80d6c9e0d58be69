"""How long a running call may take."""

from typing import Final, TypeAlias

from .. import real_time


class _Default:
    """The ``timeout`` of a call that gives none: ini ``background_tasks_timeout``."""

    def __repr__(self) -> str:
        return "..."


DEFAULT: Final = _Default()
Timeout: TypeAlias = float | _Default | None
"""Seconds of real time; None: without end."""


def seconds_of(timeout: Timeout, default: float | None) -> float | None:
    """The seconds that a call with this ``timeout=`` may take, None for ever; `default` is that of the session."""
    __tracebackhide__ = True
    if isinstance(timeout, _Default):
        return default
    seconds: object = timeout
    if timeout is None or (isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0):
        return timeout
    raise ValueError(
        f"timeout={timeout!r}: a time-out is a positive number of seconds, or None to wait for ever; "
        f"write e.g. timeout=5"
    )


def deadline_of(seconds: float | None) -> float | None:
    """The moment, on the monotonic clock, at which this many seconds from now are over; None: never."""
    return None if seconds is None else real_time.monotonic() + seconds
