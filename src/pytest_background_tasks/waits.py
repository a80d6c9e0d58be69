"""Where a suspended task waits, for what, in words, and who could end that.

The place is the innermost line of the project's own code. What it waits for is told by the functions of asyncio and
anyio that this line is in: one line of a table each. Where none of them is known, by the future that the task awaits.

Who holds a lock is nowhere written down. But a task suspended inside ``async with lock`` keeps the lock's ``__aexit__``
on the stack of its frame, and the garbage collector shows that. A lock taken by ``await lock.acquire()`` leaves no such
trace; then nothing is said.

Private names of CPython used here: ``_fut_waiter`` of a task, ``_callbacks`` and ``_children`` of a future, ``_tasks``
of a task group, ``_unfinished_tasks`` of a queue, and the variables of the functions in the table.
"""

import asyncio
import gc
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from types import FrameType, FunctionType, MethodType
from typing import Any, NamedTuple

from .sites import Site, await_chain, await_links, behind, waiting_site
from .task_state import coroutine_of, is_task, name_of
from .untrusted import attribute, qualified_name, text_attribute

_PACKAGES = {"asyncio", "anyio", __name__.partition(".")[0]}  # whose functions are known
_SHOWN = 3  # how many tasks are named before "and 5 more"


class Wait(NamedTuple):
    """A place where a task waits: `file`, `line` and `function` as in a `Site`, and what it ``waits_for``, in words.

    >>> print(Wait("/srv/chat/api.py", 28, "answer", "a lock held by Task-2 (audit)"))
    /srv/chat/api.py:28 in answer, for a lock held by Task-2 (audit)
    """

    file: str
    line: int
    function: str
    waits_for: str

    @property
    def site(self) -> Site:
        """The place alone."""
        return Site(*self[:3])

    def __str__(self) -> str:
        return f"{self.site}, for {self.waits_for}"


def known(task: "asyncio.Task[Any]") -> str:
    """What a reader knows `task` by: its name and its function; anyio names its tasks by their function."""
    name, coroutine = name_of(task), behind(coroutine_of(task))
    by_anyio = text_attribute(coroutine, "__qualname__").endswith("_run_coro")
    function = text_attribute(coroutine, "__name__", "?")
    return name if by_anyio else f"{name} ({function})" if name else function


def wait_of(
    task: "asyncio.Task[Any]",
    is_own: Mapping[str, bool],
    named: Callable[["asyncio.Task[Any]"], str] = known,
) -> Wait | None:
    """Where and for what `task` waits; ``None`` if it has not started, is running, or has ended.

    Args:
        task: of any loop, of which it is read only.
        is_own: which files of code are the project's own (`OwnCode`).
        named: how tasks are called in the words.
    """
    site = waiting_site(coroutine_of(task), is_own)
    return None if site is None else Wait(*site, _Words(task, named).of(task, is_own))


class _Words:
    """Puts into words what tasks wait for, as seen from `task`, which is not named as the holder of what it awaits."""

    def __init__(self, task: "asyncio.Task[Any]", named: Callable[["asyncio.Task[Any]"], str]) -> None:
        self._task = task
        self._named = named

    def of(self, task: Any, is_own: Mapping[str, bool]) -> str:
        """What `task` waits for."""
        for frame in _below_own(list(await_chain(coroutine_of(task))), is_own):
            if str(frame.f_globals.get("__name__", "")).partition(".")[0] in _PACKAGES:
                tell = _FUNCTIONS.get(frame.f_code.co_qualname)
                words = tell and _words_or_none(tell, self, frame.f_locals)
                if words:
                    return words
        return self.future(attribute(task, "_fut_waiter"))

    def name(self, task: "asyncio.Task[Any]") -> str:
        """What a reader knows `task` by."""
        return self._named(task)

    def future(self, future: Any) -> str:
        """A task, several, a thread's answer, or just a future."""
        if future is None:
            return "its next turn"
        if is_task(future):
            return f"the task {self._named(future)}"
        if type(children := attribute(future, "_children")) is list:
            return self.tasks(children)
        for callback, *_ in attribute(future, "_callbacks") or ():
            name = text_attribute(callback, "__qualname__")
            if name.startswith("_chain_future."):
                return "a thread"
            if name == "shield.<locals>._outer_done_callback":
                return f"{self.future(inspect.getclosurevars(callback).nonlocals['inner'])}, shielded"
        return "a future"

    def tasks(self, futures: Iterable[Any]) -> str:
        """Those of `futures` that are not done."""
        pending = [future for future in futures if not _is_future(future) or not asyncio.Future.done(future)]
        tasks = sorted(self._named(future) for future in pending if is_task(future))
        if len(pending) <= 1 or not tasks:
            return self.future(next(iter(pending), None)) if len(pending) <= 1 else f"{len(pending)} futures"
        more = f" and {len(pending) - _SHOWN} more" if len(pending) > _SHOWN else ""
        return f"the tasks {', '.join(tasks[:_SHOWN])}{more}"

    def held(self, what: str, lock: object) -> str:
        """A lock or semaphore, and the tasks that are inside its ``async with``."""
        tasks = asyncio.all_tasks(self._task.get_loop()) - {self._task}
        holders = sorted(
            self._named(task)
            for task in tasks
            if any(each is lock for each in _entered(task)) and not _awaits_entry(task, lock)
        )
        return f"{what} held by {', '.join(holders)}" if holders else what


def _below_own(frames: list[FrameType], is_own: Mapping[str, bool]) -> list[FrameType]:
    """The frames that the innermost own one is in the middle of; all, if none is own."""
    own = [number for number, frame in enumerate(frames) if is_own[frame.f_code.co_filename]]
    return frames[own[-1] + 1 :] if own else frames


def _entered(task: "asyncio.Task[Any]") -> Iterator[object]:
    """What `task` has entered, or is entering, with ``async with``."""
    for link in await_links(coroutine_of(task)):
        referents = gc.get_referents(link)
        for one, next_one in pairwise([*referents, None]):
            # Up to 3.13 a bound method; since then the function, and beside it what it belongs to.
            if type(one) is MethodType and text_attribute(one, "__name__") == "__aexit__":
                yield one.__self__
            elif type(one) is FunctionType and one.__name__ == "__aexit__":
                yield next_one


def _awaits_entry(task: "asyncio.Task[Any]", lock: object) -> bool:
    frames = await_chain(coroutine_of(task))
    return any("acquire" in frame.f_code.co_name and frame.f_locals.get("self") is lock for frame in frames)


def _sleep(_: _Words, variables: Mapping[str, Any]) -> str | None:
    timer = variables.get("h")
    if timer is None:  # sleep(0), or anyio's around the real one
        return None
    left = timer.when() - variables["loop"].time()
    return f"a sleep of {variables['delay']:g} s ({max(round(left, 3), 0):g} s left)"


def _function(callee: Any) -> str:
    return f"a thread that runs {qualified_name(callee.func if type(callee) is partial else callee)}"


# What a function of asyncio or anyio waits for, from its variables; the outermost that is known here counts.
_FUNCTIONS: dict[str, Callable[[_Words, Mapping[str, Any]], str | None]] = {
    "Lock.acquire": lambda words, variables: words.held("a lock", variables["self"]),
    "Semaphore.acquire": lambda words, variables: words.held("a semaphore", variables["self"]),
    "CapacityLimiter.acquire_on_behalf_of": lambda words, variables: words.held("a limiter", variables["self"]),
    "Condition.wait": lambda *_: "a condition to be notified",
    "Event.wait": lambda *_: "an event",
    "Barrier.wait": lambda _, variables: "a barrier ({0.n_waiting} of {0.parties} are there)".format(variables["self"]),
    "Queue.get": lambda *_: "an item of a queue",
    "Queue.put": lambda _, variables: f"room in a queue of {variables['self'].maxsize}",
    "Queue.join": lambda _, variables: f"a queue's {variables['self']._unfinished_tasks} unfinished items",
    "MemoryObjectReceiveStream.receive": lambda *_: "an item of a stream",
    "MemoryObjectSendStream.send": lambda *_: "room in a stream",
    "sleep": _sleep,
    "_wait": lambda words, variables: words.tasks(variables["fs"]),
    "as_completed.<locals>._wait_for_one": lambda *_: "the next of the tasks it completes",
    "_AsCompletedIterator._wait_for_one": lambda *_: "the next of the tasks it completes",
    "wait_for": lambda words, variables: words.tasks([variables["fut"]]) if _is_pending(variables["fut"]) else None,
    "TaskGroup.__aexit__": lambda words, variables: _group(words, variables["self"]),
    "to_thread": lambda _, variables: _function(variables["func"]),
    "AsyncIOBackend.run_sync_in_worker_thread": lambda _, variables: _function(variables["func"]),
    "StreamReader._wait_for_data": lambda *_: "data on a stream",
    "StreamWriter.drain": lambda *_: "the other end of a stream to take what was written",
    "Process.wait": lambda *_: "a child process to end",
    "Stepper._ready": lambda words, variables: f"the next step of {words.name(variables['task'])}",
    "_ended": lambda words, variables: words.future(variables["task"]),
}


def _is_pending(future: Any) -> bool:
    return _is_future(future) and not asyncio.Future.done(future)


def _is_future(future: Any) -> bool:
    return issubclass(type(future), asyncio.Future)


def _words_or_none(
    tell: Callable[[_Words, Mapping[str, Any]], str | None], words: _Words, variables: Mapping[str, Any]
) -> str | None:
    try:
        return tell(words, variables)
    except Exception:  # a class of the program, derived from asyncio's
        return None


def _group(words: _Words, group: Any) -> str | None:
    tasks = getattr(group, "_tasks", None)
    return words.tasks(tasks) if tasks else None
