"""The timeout of a running method."""

from typing import Final, TypeAlias

from .._introspect import real_clock


class _Default:
    """The default ``timeout`` of a call: ini ``background_tasks_timeout``."""

    def __repr__(self) -> str:
        return "..."


DEFAULT: Final = _Default()
Timeout: TypeAlias = float | _Default | None
"""Seconds of real time; None: no limit."""


def seconds_of(timeout: Timeout, default: float | None) -> float | None:
    """Return the seconds that a call with this ``timeout=`` may take, None for no limit; `default` is the session's."""
    __tracebackhide__ = True
    if isinstance(timeout, _Default):
        return default
    seconds: object = timeout
    if timeout is None or (isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0):
        return timeout
    raise ValueError(
        f"timeout={timeout!r}: a timeout is a positive number of seconds, or None to wait forever; write e.g. timeout=5"
    )


def deadline_of(seconds: float | None) -> float | None:
    """Return the moment in `seconds` seconds on the monotonic clock; None: never."""
    return None if seconds is None else real_clock.monotonic() + seconds
