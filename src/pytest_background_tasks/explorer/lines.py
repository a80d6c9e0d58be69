"""Which lines of the project's own code run.

Coverage and debuggers trace too. A run is told after others with the same order were played, so they have seen its
lines by then; but a debugger that the program itself starts meanwhile (``breakpoint()``) goes first: where a tracer is
met that was not there at the beginning, nothing is recorded. (`sys.monitoring` would disturb nobody, but Python 3.11
has none, and two ways to record are one too many.)
"""

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from ..sites import site_in
from .trace import Ran

_MOST = 200  # lines of one step: a step that runs more is a computation, of which the beginning says enough


class Recorder:
    """A context manager: records what runs in this thread between its entry and its exit.

    Args:
        is_own: which files of code are the project's own.
    """

    def __init__(self, is_own: Mapping[str, bool]) -> None:
        self._is_own = is_own
        self._others = sys.gettrace()
        self._lines: list[Ran] = []
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
    def lines(self) -> tuple[Ran, ...]:
        """What was recorded last."""
        return tuple(self._lines)

    def _on_call(self, frame: FrameType, _event: str, _: object) -> Any:  # pragma: no cover - a tracer is not traced
        file = frame.f_code.co_filename
        return self._on_line if self._is_own[file] and not file.startswith("<") else None

    def _on_line(self, frame: FrameType, event: str, _: object) -> Any:  # pragma: no cover - a tracer is not traced
        if len(self._lines) >= _MOST:
            return None
        if event == "line":
            code = frame.f_code
            self._lines.append(Ran(site_in(code, frame.f_lineno), self._depth(frame)))
        return self._on_line

    def _depth(self, frame: FrameType) -> int:  # pragma: no cover - a tracer is not traced
        """How many of the project's own functions `frame` is below.

        Counting calls and returns would be wrong: since Python 3.12 an error that arrives in a coroutine is no call.
        """
        deep, caller = 0, frame.f_back
        while caller is not None and caller is not self._bottom:
            deep += self._is_own[caller.f_code.co_filename]
            caller = caller.f_back
        return deep
