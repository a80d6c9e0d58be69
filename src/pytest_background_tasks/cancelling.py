"""Cancelling a task that has failed already: that is not to look at its error.

``Task.cancel`` of a task that has ended does nothing, but for one thing: asyncio takes it that somebody has looked at
the error, and clears ``_log_traceback``. A fixture that cancels all that it has started would hide every failure that
way. Nothing else in a task tells a `cancel` that came too late from an `exception` that somebody has asked for, and a
task has no moment of its end at which it could be looked at without the program seeing that (a done callback, a wrapped
coroutine). So the method itself is replaced; it costs nothing where nobody cancels.

Private names of CPython used here: ``_log_traceback`` of a task, ``_PyTask`` of asyncio.tasks.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from .patching import replaced, replaced_in_c

_IMMUTABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE


@contextmanager
def cancelling_too_late(keeps: Callable[[Any], bool]) -> Iterator[None]:
    """Inside, ``cancel()`` leaves a task that has failed as it is: its exception was never retrieved.

    Args:
        keeps: whether this is so of a task. asyncio reports its exception no more by itself; `keeps` has to see to it.
    """

    def wrapper(cancel: Callable[..., bool]) -> Callable[..., bool]:
        @wraps(cancel)
        def cancel_unless_too_late(self: Any, msg: Any = None) -> bool:
            return False if self._log_traceback and keeps(self) else cancel(self, msg)

        return cancel_unless_too_late

    with ExitStack() as stack:
        for task_class in {asyncio.Task, asyncio.tasks._PyTask}:  # type: ignore[attr-defined]
            replacing = replaced_in_c if task_class.__flags__ & _IMMUTABLE else replaced
            stack.enter_context(replacing(task_class, "cancel", wrapper))
        yield
