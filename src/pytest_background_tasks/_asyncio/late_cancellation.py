"""Late cancellation: cancelling a task that has already failed does not retrieve its exception.

``Task.cancel`` of a task that has ended does only one thing: it clears ``_log_traceback``, as if the exception had been
retrieved. A fixture that cancels every task it has started would thus hide every failure. Nothing else in a task
distinguishes a `cancel` that came too late from a call of `exception`, and the end of a task cannot be observed without
the program noticing (a done callback, a wrapped coroutine). So the method itself is replaced, which costs nothing
unless a task is cancelled.

Private names of CPython used here: ``_log_traceback`` of a task, ``_PyTask`` of asyncio.tasks.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from .patching import patched, patched_in_c

_IMMUTABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE


@contextmanager
def cancelling_too_late(keeps: Callable[[Any], bool]) -> Iterator[None]:
    """Make ``cancel()`` of a failed task do nothing inside the block, so that its exception counts as never retrieved.

    Args:
        keeps: returns True if this applies to a task. asyncio then no longer reports its exception; `keeps` has to.
    """

    def wrapper(cancel: Callable[..., bool]) -> Callable[..., bool]:
        @wraps(cancel)
        def cancel_unless_too_late(self: Any, msg: Any = None) -> bool:
            return False if self._log_traceback and keeps(self) else cancel(self, msg)

        return cancel_unless_too_late

    with ExitStack() as stack:
        for task_class in {asyncio.Task, asyncio.tasks._PyTask}:  # type: ignore[attr-defined]
            replacing = patched_in_c if task_class.__flags__ & _IMMUTABLE else patched
            stack.enter_context(replacing(task_class, "cancel", wrapper))
        yield
