"""Small tools without a package of their own: the real clock, words for amounts, garbage collection, patching.

This module is loaded when pytest starts, before a test can freeze time.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

PACKAGE = f"{Path(__file__).parent}{os.sep}"
"""The beginning of the paths of all files of this package."""

_clock = (time.monotonic,)  # freezegun replaces it wherever it is an attribute of a module
_pause = (time.sleep,)


def monotonic() -> float:
    """Return the seconds of the real `time.monotonic`."""
    return _clock[0]()


def let_others_run() -> None:
    """Release the interpreter's lock for a moment, so that a thread that waits for it runs."""
    _pause[0](0)


def plural(count: int, noun: str) -> str:
    """Return `count` and `noun`, with a plural "s" unless `count` is 1.

    >>> plural(1, "step"), plural(0, "step"), plural(2, "step")
    ('1 step', '0 steps', '2 steps')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def indented(lines: Iterable[str], at_most: int | None = None) -> str:
    """Return `lines` as an indented block that follows a colon; beyond `at_most`, one line counts the rest.

    >>> print("held:" + indented(["one", "two", "three"], at_most=2))
    held:
      one
      two
      and 1 more
    """
    shown = list(lines)
    if at_most is not None and len(shown) > at_most:
        shown[at_most:] = [f"and {len(shown) - at_most} more"]
    return "".join(f"\n  {line}" for line in shown)


def listing(items: Sequence[str], at_most: int) -> str:
    """Return `items` in a row, separated by commas; if there are more than `at_most`, their number stands for the rest.

    >>> listing(["one", "two", "three"], at_most=2)
    'one, two and 1 more'
    """
    more = f" and {len(items) - at_most} more" if len(items) > at_most else ""
    return ", ".join(items[:at_most]) + more


class GarbageCollectionDisabled:
    """Disable automatic garbage collection inside the block."""

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._collects:
            gc.enable()


_ABSTRACT_METHODS = type.__dict__["__abstractmethods__"]


class Patch:
    """A replaced attribute: ``owner.name`` is now ``wrapper(owner.name)``."""

    def __init__(self, owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
        self._owner = owner
        self._name = name
        self._is_inherited = name not in vars(owner)
        self._before = getattr(owner, name)
        self._ours = wrapper(self._before)
        setattr(owner, name, self._ours)

    def restore(self) -> None:
        """Restore the attribute unless other code has replaced it since."""
        if vars(self._owner).get(self._name) is self._ours:
            if self._is_inherited:
                delattr(self._owner, self._name)
            else:
                setattr(self._owner, self._name, self._before)


@contextmanager
def patched(owner: Any, name: str, wrapper: Callable[[Any], Any]) -> Iterator[None]:
    """Replace ``owner.name`` with ``wrapper(owner.name)``; restore it unless other code has replaced it since."""
    patch = Patch(owner, name, wrapper)
    try:
        yield
    finally:
        patch.restore()


@contextmanager
def patched_in_c(owner: type, name: str, wrapper: Callable[[Any], Any]) -> Iterator[None]:
    """Do the same as `patched` for a method of a class that is written in C, whose attributes cannot be set.

    The method is changed in the dictionary of the class, which the garbage collector reveals. Setting the abstract
    methods of the class then invalidates what CPython has cached of it, even if the class is immutable. If an
    interpreter does not reveal such a dictionary, nothing is replaced.
    """
    put = partial(_put_into, _dictionary_of(owner), owner, name)
    before = vars(owner)[name]
    ours = wrapper(before)
    put(ours)
    try:
        yield
    finally:
        if vars(owner)[name] is ours:
            put(before)


def _dictionary_of(owner: type) -> dict[str, Any]:
    return next((each for each in gc.get_referents(vars(owner)) if isinstance(each, dict)), {})


def _put_into(dictionary: dict[str, Any], owner: type, name: str, value: object) -> None:
    dictionary[name] = value
    _ABSTRACT_METHODS.__set__(owner, ())
    _ABSTRACT_METHODS.__delete__(owner)
