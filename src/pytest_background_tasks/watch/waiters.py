"""The waiters for which asyncio starts a task, and whether they still wait.

``shield``, ``gather`` and ``as_completed`` start tasks of their own for the coroutines that they are given. A waiter
stands in a task's done callbacks. That of a `shield` is taken out when the waiter gives up. That of a `gather` stays,
also when the first error has ended the waiting; and that of an `as_completed` stays when its loop is left.

Private names of CPython used here: ``_callbacks`` of a future, ``_getters`` of a queue, and the names and variables of
the callbacks in the table.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..capture.held import waits


def has_waiter(future: Any) -> bool:
    """Return whether a task, or a loop's runner, waits for `future`, be it through others."""
    return any(_is_waiter(callback) for callback, *_ in getattr(future, "_callbacks", None) or ())


def _is_waiter(callback: Any) -> bool:
    while isinstance(callback, partial):
        callback = callback.func
    tell = _CALLBACKS.get(getattr(callback, "__qualname__", ""), waits)
    return tell(callback)


def _waits_for_outer(callback: Any) -> bool:
    outer = _variables(callback).get("outer")
    return outer is not None and not outer.done() and has_waiter(outer)


def _waits_for_queue(callback: Any) -> bool:
    queue = _variables(callback).get("done") or callback.__self__._done
    return any(not getter.done() for getter in queue._getters)


def _waits_no_more(_: Any) -> bool:
    return False


def _variables(function: Any) -> dict[str, Any]:
    cells = getattr(function, "__closure__", None) or ()
    return {name: cell.cell_contents for name, cell in zip(function.__code__.co_freevars, cells, strict=True)}


_CALLBACKS: dict[str, Callable[[Any], bool]] = {
    "shield.<locals>._inner_done_callback": _waits_for_outer,
    "shield.<locals>._outer_done_callback": _waits_no_more,
    "shield.<locals>._clear_awaited_by_callback": _waits_no_more,
    "_log_on_exception": _waits_no_more,
    "gather.<locals>._done_callback": _waits_for_outer,
    "as_completed.<locals>._on_completion": _waits_for_queue,
    "_AsCompletedIterator._handle_completion": _waits_for_queue,
}
