"""The debug mode of an explored loop: asyncio's own checks, and the place where a handle was created.

None of this runs on a loop that is not in debug mode.

Private names of CPython used here: ``_check_thread`` and ``_check_callback`` of a loop, and ``_is_debug_mode`` of
asyncio.coroutines, which reads the environment.
"""

import asyncio
from asyncio import base_events, coroutines
from collections.abc import Callable
from typing import Any, TypeVar

from .._asyncio import creation_trace

_Made = TypeVar("_Made")


def is_asked_for() -> bool:
    """Return True if asyncio would create its loops in debug mode: ``PYTHONASYNCIODEBUG``, ``python -X dev``."""
    return coroutines._is_debug_mode()  # type: ignore[no-any-return, attr-defined]


def check(loop: Any, method: str, callback: Callable[..., object]) -> None:
    """Raise asyncio's own error if the call comes from another thread, or if the callback is a coroutine."""
    loop._check_thread()
    loop._check_callback(callback, method)


def check_timer(loop: Any, when: float | None, callback: Callable[..., object]) -> None:
    """Raise asyncio's own error for an invalid timer, in debug mode or not."""
    if when is None:
        raise TypeError("when cannot be None")
    loop._check_closed()
    if loop.get_debug():
        check(loop, "call_at", callback)


def checked_handle(callback: Callable[..., object], args: tuple[Any, ...], loop: Any, context: Any) -> asyncio.Handle:
    """Return the handle for a ``call_soon``."""
    check(loop, "call_soon", callback)
    return without_our_frames(asyncio.Handle(callback, args, loop, context))


def without_our_frames(made: _Made) -> _Made:
    """Return `made` with its creation traceback cut at the caller of the loop, as asyncio itself does."""
    return creation_trace.without_our_frames(made, base_events.__file__)
