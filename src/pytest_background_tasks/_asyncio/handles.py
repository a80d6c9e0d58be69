"""Asyncio's handles, created in half the time: outside debug mode they do not query their loop.

Private names of CPython used here: the fields of a handle and of a timer, and ``_debug`` of a loop.
"""

import asyncio
from contextvars import Context, copy_context
from typing import Any

from .creation_trace import without_our_frames
from .stand_ins import named_as


@named_as(asyncio.Handle)
class QuickHandle(asyncio.Handle):
    """A handle like asyncio's, for use outside debug mode."""

    __slots__ = ()

    _callback: Any
    _args: Any
    _cancelled: bool
    _context: Context
    _loop: Any
    _repr: str | None
    _source_traceback: Any

    def __init__(self, callback: Any, args: Any, loop: Any, context: Context | None) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = self._source_traceback = None


@named_as(asyncio.TimerHandle)
class QuickTimer(QuickHandle, asyncio.TimerHandle):
    """A timer like asyncio's."""

    __slots__ = ()

    _scheduled: bool
    _when: float

    def __init__(self, when: float, callback: Any, args: Any, loop: Any, context: Context | None) -> None:
        if loop._debug:
            asyncio.TimerHandle.__init__(self, when, callback, args, loop, context)
            without_our_frames(self)
            return
        # Not by calling QuickHandle.__init__: a call costs more than these lines.
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = self._scheduled = False
        self._repr = self._source_traceback = None
        self._when = when
