"""The private names of asyncio that this package reads or sets on objects of other classes than its own.

For a new version of CPython, check this file, and the modules that are parts of a loop or a task themselves: those in
`_asyncio`, the virtual clock, the nested loop, the gate for steps, held tasks, and the loop of an exploration. Objects
of the program are read as in `untrusted`.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from .untrusted import attribute


def has_selector(loop: Any) -> bool:
    """Return True if `loop` has a selector: asyncio's own loop on POSIX, and classes derived from it."""
    return not hasattr(type(loop), "_selector") and hasattr(
        loop, "_selector"
    )  # a loop of an exploration makes one late


def selector_of(loop: Any) -> Any:
    """Return the selector of `loop`, which must have one."""
    return loop._selector


def wakeup_socket_of(loop: Any) -> Any:
    """Return the socket by which other threads wake `loop`, which has a selector."""
    return loop._ssock


def files_of(selector: Any) -> Mapping[Any, Any]:
    """Return the registered files of `selector`; if possible, the dictionary itself, whose length is read often."""
    files = attribute(selector, "_fd_to_key")
    return files if type(files) is dict else selector.get_map()


def signal_handlers_of(loop: Any) -> Mapping[Any, Any]:
    """Return the signals that `loop` handles, as far as that is known; it is the loop's own dictionary."""
    return getattr(loop, "_signal_handlers", {})


def has_ready_callbacks(loop: Any) -> bool:
    """Return True if `loop`, which has a selector, has callbacks to run in its next iteration."""
    return bool(loop._ready)


def timers_of(loop: Any) -> list[asyncio.TimerHandle]:
    """Return the heap of the timers of `loop`, which has a selector; cancelled ones may be among them."""
    timers: list[asyncio.TimerHandle] = loop._scheduled
    return timers


def running_coroutine_of(task: object) -> Any:
    """Return the coroutine of `task`, or None. ``get_coro()`` of a finished eager task crashes CPython 3.12.1."""
    return attribute(task, "_coro")


def awaited_by(task: object) -> Any:
    """Return the future that `task` waits for, or None."""
    return attribute(task, "_fut_waiter")


def callbacks_of(future: object) -> list[tuple[Any, Any]]:
    """Return the done callbacks of a pending `future`, each with its context; empty if they are unknown."""
    return attribute(future, "_callbacks") or []


def children_of(future: object) -> list[Any] | None:
    """Return the futures that `future`, made by ``gather``, waits for; None for any other future."""
    children = attribute(future, "_children")
    return children if type(children) is list else None


def exception_of(task: object) -> BaseException | None:
    """Return the exception of `task`, without retrieving it."""
    error: BaseException | None = attribute(task, "_exception")
    return error


def is_unretrieved(task: object) -> bool:
    """Return True if asyncio would report that the exception of `task` was never retrieved."""
    return bool(attribute(task, "_log_traceback"))


def retrieve_silently(task: Any) -> None:
    """Let asyncio not report that the exception of `task` was never retrieved."""
    task._log_traceback = False


def never_report_as_destroyed(task: Any) -> None:
    """Let asyncio not report `task` if it is destroyed while pending."""
    task._log_destroy_pending = False
