"""The lines at which a scenario reads values that differ in every run: clocks, addresses, random numbers.

They are looked for only if two runs of a schedule differ. Each call of a C function is checked (``sys.setprofile``),
which takes several times as long as the run itself.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime
from types import FrameType
from typing import Any

from .._introspect.location import SourceLocation, location_in
from .._introspect.text import indented

_FUNCTIONS: dict[Any, str] = {
    id: "id()",
    os.urandom: "os.urandom()",
    os.getpid: "os.getpid()",
    threading.get_ident: "threading.get_ident()",
    **{
        getattr(time, name): f"time.{name}()"
        for clock in ("time", "monotonic", "perf_counter", "process_time")
        for name in (clock, f"{clock}_ns")
    },
}
_RANDOM: dict[Any, str] = {random.random: "random.random()", random.getrandbits: "random.getrandbits()"}
_METHODS_OF_CLOCK = {(datetime, "now"), (datetime, "utcnow")}
_METHODS = {*_METHODS_OF_CLOCK, (datetime, "today"), (date, "today")}
_HANDED_ON = {"random", "secrets", "tempfile", "uuid"}  # standard modules that return the value to their caller


class VaryingReads:
    """A context manager that records such reads in this thread inside the block.

    Args:
        is_project: maps file names to True for project code.
        virtual_clocks: True if clocks follow virtual time. Other functions are then called in their place, except for
            ``today()``, which calls ``time.time()``.
        same_random: True if random numbers are the same in each run.

    Attributes:
        found: the functions called, each with the line of project code that called it.
    """

    def __init__(self, is_project: Mapping[str, bool], *, virtual_clocks: bool, same_random: bool) -> None:
        self._is_project = is_project
        self._functions = _FUNCTIONS if same_random else _FUNCTIONS | _RANDOM
        self._methods = _METHODS_OF_CLOCK if virtual_clocks else _METHODS
        self.found: dict[tuple[str, SourceLocation], None] = {}

    def __enter__(self) -> "VaryingReads":
        self._is_there = sys.getprofile() is None  # do not replace a profiler
        if self._is_there:
            sys.setprofile(self._on_event)
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_there:
            sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, called: Any) -> None:  # pragma: no cover - not traced itself
        if event != "c_call":
            return
        name = self._name_of(called)
        own = self._own_caller(frame) if name else None
        if own is not None:
            self.found.setdefault((name, location_in(own.f_code, own.f_lineno or 0)))

    def _name_of(self, called: Callable[..., Any]) -> str:  # pragma: no cover - not traced itself
        try:
            name = self._functions.get(called, "")
        except TypeError:  # a method of an unhashable object
            return ""
        of = getattr(called, "__self__", None)
        if not name and isinstance(of, type) and any((base, called.__name__) in self._methods for base in of.__mro__):
            return f"{of.__name__}.{called.__name__}()"
        return name

    def _own_caller(self, frame: FrameType) -> FrameType | None:  # pragma: no cover - not traced itself
        """Return the frame of project code that reads the value; None if a library reads it for itself."""
        caller: FrameType | None = frame
        while caller is not None and not self._is_project[caller.f_code.co_filename]:
            if caller.f_globals.get("__name__") not in _HANDED_ON:
                return None
            caller = caller.f_back
        return caller


def sentence(found: Mapping[tuple[str, SourceLocation], None], most: int = 5) -> str:
    """Return a paragraph about the reads that were found; empty if there are none."""
    if not found:
        return ""
    lines = [f"{name} at {site}" for name, site in found]
    return f"It reads values that differ in every run:{indented(lines, most)}\n"
