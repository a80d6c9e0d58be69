"""A recorder of the lines of project code that run.

Coverage and debuggers trace too. The run to be reported comes after other runs with the same order, so they have seen
its lines by then. But a debugger that the program itself starts meanwhile (``breakpoint()``) has priority: if a tracer
is set that was not there at the beginning, nothing is recorded. (`sys.monitoring` would disturb no other tool, but
Python 3.11 does not have it, and two ways to record are one too many.)
"""

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from .._introspect.location import location_in
from .trace import ExecutedLine

_MOST = 200  # lines recorded per step: a step that runs more is a computation, and its beginning is enough


class LineTracer:
    """A context manager that records the lines run in this thread inside the block.

    Args:
        is_project: maps file names to True for project code.
    """

    def __init__(self, is_project: Mapping[str, bool]) -> None:
        self._is_project = is_project
        self._others = sys.gettrace()
        self._lines: list[ExecutedLine] = []
        self._bottom: FrameType | None = None

    def __enter__(self) -> None:
        self._lines = []
        self._bottom = sys._getframe().f_back
        if sys.gettrace() is self._others:
            sys.settrace(self._on_call)

    def __exit__(self, *_: object) -> None:
        if sys.gettrace() == self._on_call:
            sys.settrace(self._others)
        self._bottom = None

    @property
    def lines(self) -> tuple[ExecutedLine, ...]:
        """The lines of the last recording."""
        return tuple(self._lines)

    def _on_call(self, frame: FrameType, _event: str, _: object) -> Any:  # pragma: no cover - a tracer is not traced
        file = frame.f_code.co_filename
        return self._on_line if self._is_project[file] and not file.startswith("<") else None

    def _on_line(self, frame: FrameType, event: str, _: object) -> Any:  # pragma: no cover - a tracer is not traced
        if len(self._lines) >= _MOST:
            return None
        if event == "line":
            code = frame.f_code
            self._lines.append(ExecutedLine(location_in(code, frame.f_lineno), self._depth(frame)))
        return self._on_line

    def _depth(self, frame: FrameType) -> int:  # pragma: no cover - a tracer is not traced
        """Return the number of functions of project code below `frame` on the stack.

        Counting calls and returns would be wrong: since Python 3.12 throwing an error into a coroutine is not a call.
        """
        deep, caller = 0, frame.f_back
        while caller is not None and caller is not self._bottom:
            deep += self._is_project[caller.f_code.co_filename]
            caller = caller.f_back
        return deep
