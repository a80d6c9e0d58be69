"""Unknown durations: a timer may fire before an event that is due earlier.

A sleep in a test's fake stands for I/O. Such sleeps of equal length may end in any order, as long as none takes longer
than about three times its length; a length that was written differently is a statement. An external answer (`answer`,
the result of a thread) may take longer than a timer; see `Slow` for the latter.
"""

from typing import Any, NamedTuple

from .arrivals import Arrival

_LONGEST = 3.5  # lengths; more make helpers of tests fail that poll
_MOST = 5  # number of moments with a timer for which an answer may be delayed: a heartbeat has no last one


class Span(NamedTuple):
    """The time that a sleep in a fake may take.

    Attributes:
        length: its length as written, in seconds.
        until: the last moment, in virtual time, at which another sleep of this length may end before it.
    """

    length: float
    until: float


def span_of(now: float, when: float) -> Span:
    """Return the span of a sleep in a fake that begins now."""
    return Span(when - now, now + _LONGEST * (when - now))


def may_overtake(timer: Arrival, handle: Any, kind: str | None, now: float, passed: int) -> bool:
    """Return True if `timer` may fire before a delayed event that is due earlier.

    Args:
        timer: the next timer.
        handle: the delayed handle.
        kind: its kind of arrival.
        now: virtual time, in seconds.
        passed: the number of moments for which time has passed while a handle was delayed.
    """
    if timer.kind is None and not timer.is_of_test:
        return True  # it was due already when it was set
    if kind == "answer":
        return not timer.is_of_test and (timer._when <= now or passed < _MOST)
    if kind == "sleep":
        span, other = handle.span, timer.span
        is_alike = span is not None and other is not None and span.length == other.length
        return timer._when <= handle._when or (is_alike and timer._when <= span.until)
    return timer._when <= now
