"""An asyncio event loop that is cheap to create, because an exploration creates thousands.

Attributes that have the same initial value in every loop are attributes of the class. Only containers and counters are
created for each loop, and weak sets, the most expensive and rarely needed, on first access. If a version of Python
gives its loops any other attribute, asyncio's own ``__init__`` is used.

Private names of CPython used here: all attributes that ``BaseEventLoop.__init__`` sets, none of them by name.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any
from weakref import WeakSet

from .._asyncio.stand_ins import named_as

_SHARED = (bool, int, float, tuple, type(None))
_ANEW = (deque, list)


@named_as(asyncio.SelectorEventLoop)
class FastLoop(asyncio.SelectorEventLoop):
    """A loop that looks like asyncio's own. Its selector is made by subclasses."""

    def __init__(self) -> None:
        for name, make in _OF_EACH:
            setattr(self, name, make())

    def __init_subclass__(cls) -> None:
        named_as(asyncio.SelectorEventLoop)(cls)

    def close(self) -> None:
        """Close the loop like `BaseEventLoop`: there is no selector to close."""
        asyncio.BaseEventLoop.close(self)


_OF_EACH: list[tuple[str, Callable[[], Any]]] = []


def _inspect_base_loop(loop: asyncio.BaseEventLoop) -> None:
    attributes = vars(loop).copy()
    loop.close()
    if not all(isinstance(value, (*_SHARED, *_ANEW, WeakSet)) for value in attributes.values()):
        FastLoop.__init__ = asyncio.BaseEventLoop.__init__  # type: ignore[method-assign]  # once, for the class
        return
    for name, value in attributes.items():
        if isinstance(value, _SHARED):
            setattr(FastLoop, name, value)
        elif isinstance(value, WeakSet):
            when_needed: cached_property[WeakSet[Any]] = cached_property(lambda _: WeakSet())
            when_needed.__set_name__(FastLoop, name)
            setattr(FastLoop, name, when_needed)
        else:
            _OF_EACH.append((name, type(value)))


_inspect_base_loop(asyncio.BaseEventLoop())
