"""Support for anyio on an explored loop: worker threads run through the loop, and sets keep their order.

FastAPI and Starlette run ``def`` endpoints in anyio's worker threads. All such calls end in
``run_sync_in_worker_thread`` of anyio's asyncio backend: a method of ``AsyncIOBackend``, in anyio 3 a module function.

To cancel and to wake, anyio iterates sets of cancel scopes and events, which hash by address. So ``set`` is replaced
in anyio's modules.
"""

import asyncio
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, MutableSet
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from .._introspect.unsupported_version import UnsupportedVersion
from .controlled_loop import ControlledLoop

_T = TypeVar("_T")

_BACKEND = "anyio._backends._asyncio"
_CALL = "run_sync_in_worker_thread"
_KNOWN = "3.7 and 4"
_NO_THREADS = "an exploration cannot control what this version of anyio sends to threads"
_NO_ORDER = "explored tests may not be deterministic: it wakes and cancels tasks in arbitrary order"


class SetInOrder(MutableSet[_T]):
    """A set that iterates in insertion order."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[_T] = ()) -> None:
        self._items = dict.fromkeys(items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[_T]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: _T) -> None:
        """Add an item, like ``set.add``."""
        self._items[item] = None

    def discard(self, item: _T) -> None:
        """Remove an item if it is present, like ``set.discard``."""
        self._items.pop(item, None)

    def copy(self) -> "SetInOrder[_T]":
        """Return a copy, like ``set.copy``."""
        return SetInOrder(self._items)


def replacements() -> Iterator[tuple[Any, str, object]]:
    """Yield the replacements for attributes of anyio: owner, name, new value.

    Raises:
        UnsupportedVersion: this version of anyio is not supported; the replacements already yielded are still useful.
    """
    yield from _sets_in_order()
    yield _threads_through_loop()


def _sets_in_order() -> Iterator[tuple[Any, str, object]]:
    try:
        modules = [importlib.import_module(name) for name in (_BACKEND, "anyio.streams.memory")]
    except ImportError:
        raise UnsupportedVersion("anyio", _KNOWN, _NO_ORDER) from None
    for module in modules:
        yield module, "set", SetInOrder


def _threads_through_loop() -> tuple[Any, str, object]:
    backend: Any = importlib.import_module(_BACKEND)
    owner: Any = getattr(backend, "AsyncIOBackend", backend)
    call: Any = getattr(owner, _CALL, None)
    if not (_takes(call, {"func", "args", "limiter"}) and all(hasattr(owner, name) for name in _HELPERS)):
        raise UnsupportedVersion("anyio", _KNOWN, _NO_THREADS)
    ours = _through_loop(owner, call)
    return owner, _CALL, ours if owner is backend else staticmethod(ours)


_HELPERS = ("checkpoint", "current_default_thread_limiter")


def _takes(call: Any, names: set[str]) -> bool:
    return inspect.iscoroutinefunction(call) and names <= set(inspect.signature(call).parameters)


def _through_loop(owner: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a wrapper of `call` that uses the helper thread of an explored loop; other loops are not affected."""
    signature = inspect.signature(call)
    scope_of: Any = importlib.import_module(_BACKEND).CancelScope

    async def run_sync_in_worker_thread(*given: Any, **named: Any) -> Any:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, ControlledLoop):
            return await call(*given, **named)
        asked = signature.bind(*given, **named).arguments
        may_leave = asked.get("abandon_on_cancel", asked.get("cancellable", False))  # `cancellable` up to anyio 4.0
        await owner.checkpoint()
        async with asked.get("limiter") or owner.current_default_thread_limiter():
            with scope_of(shield=not may_leave):
                function = partial(copy_context().run, asked["func"], *asked.get("args", ()))
                return await loop.run_in_executor(None, function)

    return run_sync_in_worker_thread
