"""Reads from a suspended task the place at which it waits, and the reason.

The place is the innermost line of the project's own code. The reason comes from the functions of asyncio and anyio that
this line has called: a table has an entry for each. If it has called none of these, the reason is the future that the
task awaits.

asyncio does not record who holds a lock. A task suspended inside ``async with lock`` keeps the lock's ``__aexit__`` on
the stack of its frame, though, and the garbage collector shows that. A lock taken by ``await lock.acquire()`` leaves no
such trace; its holder is unknown.

Private names of CPython used here: ``_tasks`` of a task group, ``_unfinished_tasks`` of a queue, and the variables of
the functions in the table.
"""

import asyncio
import gc
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any, TypeVar

from .internals import awaited_by, callbacks_of, children_of
from .location import await_chain, await_links, behind, waiting_location
from .task_state import coroutine_of, is_task, name_of
from .text import plural
from .untrusted import qualified_name, text_attribute
from .wait_reason import WaitKind, WaitPoint, WaitReason


def task_label(task: "asyncio.Task[Any]") -> str:
    """Return the name of `task` and of its function; anyio names its tasks after their functions."""
    name, coroutine = name_of(task), behind(coroutine_of(task))
    by_anyio = text_attribute(coroutine, "__qualname__").endswith("_run_coro")
    function = text_attribute(coroutine, "__name__", "?")
    return name if by_anyio else f"{name} ({function})" if name else function


def wait_point_of(
    task: "asyncio.Task[Any]",
    is_project: Mapping[str, bool],
    named: Callable[["asyncio.Task[Any]"], str] = task_label,
) -> WaitPoint | None:
    """Return the place at which `task` is suspended, and the reason; ``None`` unless it is suspended.

    Args:
        task: a task of any loop. It is only read.
        is_project: the files of code that belong to the project (`ProjectCode`).
        named: returns the name of a task in the reason.
    """
    site = waiting_location(coroutine_of(task), is_project)
    return None if site is None else WaitPoint(*site, WaitReasons(task, named).of(task, is_project))


class WaitReasons:
    """Finds the reasons for which tasks wait, as seen from `task`, which is never named as the holder of a lock."""

    def __init__(self, task: "asyncio.Task[Any]", named: Callable[["asyncio.Task[Any]"], str]) -> None:
        self._task = task
        self.name = named

    def of(self, task: Any, is_project: Mapping[str, bool]) -> WaitReason:
        """Return the reason for which `task` waits."""
        for frame in _below_own(list(await_chain(coroutine_of(task))), is_project):
            reader = _reader_of(frame)
            reason = reader and _read(reader, self, frame.f_locals)
            if reason:
                return reason
        return self.future(awaited_by(task))

    def future(self, future: Any) -> WaitReason:
        """Return the reason of a task that awaits `future`: a task, several, a thread, or just a future."""
        if future is None:
            return WaitReason("turn", "its next turn in the event loop")
        if is_task(future):
            return WaitReason("task", "", (self.name(future),))
        if (children := children_of(future)) is not None:
            return self.futures(children)
        for callback, *_ in callbacks_of(future):
            name = text_attribute(callback, "__qualname__")
            if name.startswith("_chain_future."):
                return WaitReason("thread", "a thread")
            if name == "shield.<locals>._outer_done_callback":
                inner = inspect.getclosurevars(callback).nonlocals["inner"]
                return self.future(inner)._replace(is_shielded=True)
        return WaitReason("future", "a future")

    def futures(self, futures: Iterable[Any]) -> WaitReason:
        """Return the reason of a task that awaits those of `futures` that are not done."""
        pending = [future for future in futures if not _is_future(future) or _is_pending(future)]
        if len(pending) <= 1:
            return self.future(next(iter(pending), None))
        tasks = tuple(sorted(self.name(future) for future in pending if is_task(future)))
        return WaitReason("task", "", tasks) if tasks else WaitReason("future", f"{len(pending)} futures")

    def lock(self, subject: str, lock: object) -> WaitReason:
        """Return the reason of a task that waits for a lock or semaphore, with the tasks inside its ``async with``."""
        tasks = asyncio.all_tasks(self._task.get_loop()) - {self._task}
        holders = (task for task in tasks if any(each is lock for each in _entered(task)))
        names = sorted(self.name(task) for task in holders if not _awaits_entry(task, lock))
        return WaitReason("lock", subject, tuple(names))


def _below_own(frames: list[FrameType], is_project: Mapping[str, bool]) -> list[FrameType]:
    """Return the frames called by the project's innermost one; all frames, if the project has none of them."""
    own = [number for number, frame in enumerate(frames) if is_project[frame.f_code.co_filename]]
    return frames[own[-1] + 1 :] if own else frames


def _entered(task: "asyncio.Task[Any]") -> Iterator[object]:
    """Yield the objects that `task` has entered, or is entering, with ``async with``."""
    for link in await_links(coroutine_of(task)):
        referents = gc.get_referents(link)
        for one, next_one in pairwise([*referents, None]):
            # A bound method up to 3.13; since then the function, followed by the object that it belongs to.
            if type(one) is MethodType and text_attribute(one, "__name__") == "__aexit__":
                yield one.__self__
            elif type(one) is FunctionType and one.__name__ == "__aexit__":
                yield next_one


def _awaits_entry(task: "asyncio.Task[Any]", lock: object) -> bool:
    frames = await_chain(coroutine_of(task))
    return any("acquire" in frame.f_code.co_name and frame.f_locals.get("self") is lock for frame in frames)


Reader = Callable[[WaitReasons, Mapping[str, Any]], WaitReason | None]
"""Reads the reason from the variables of a suspended function; ``None`` if they do not tell it."""

_CoroutineFunction = TypeVar("_CoroutineFunction", bound=Callable[..., Any])
_OF_CODE: dict[CodeType, Reader] = {}


def waits_for(reader: Reader) -> Callable[[_CoroutineFunction], _CoroutineFunction]:
    """Declare the reason for which a task waits that is suspended in the decorated coroutine function."""

    def declare(function: _CoroutineFunction) -> _CoroutineFunction:
        _OF_CODE[function.__code__] = reader
        return function

    return declare


def _sleep(_: WaitReasons, variables: Mapping[str, Any]) -> WaitReason | None:
    timer = variables.get("h")
    if timer is None:  # sleep(0), or anyio's function around the real one
        return None
    left = timer.when() - variables["loop"].time()
    return WaitReason("sleep", f"a sleep of {variables['delay']:g} s ({max(round(left, 3), 0):g} s left)")


def _thread(_: WaitReasons, variables: Mapping[str, Any]) -> WaitReason:
    callee = variables["func"]
    function = callee.func if type(callee) is partial else callee
    return WaitReason("thread", f"a thread that runs {qualified_name(function)}")


def _group(reasons: WaitReasons, variables: Mapping[str, Any]) -> WaitReason | None:
    tasks = getattr(variables["self"], "_tasks", None)
    return reasons.futures(tasks) if tasks else None


def _wait_for(reasons: WaitReasons, variables: Mapping[str, Any]) -> WaitReason | None:
    future = variables["fut"]
    return reasons.futures([future]) if _is_future(future) and _is_pending(future) else None


def _always(kind: WaitKind, subject: str) -> Reader:
    return lambda *_: WaitReason(kind, subject)


def _formatted(kind: WaitKind, subject: str) -> Reader:
    return lambda _, variables: WaitReason(kind, subject.format(variables["self"]))


def _unfinished(_: WaitReasons, variables: Mapping[str, Any]) -> WaitReason:
    return WaitReason("queue", f"{plural(variables['self']._unfinished_tasks, 'unfinished item')} of a queue")


def _lock(subject: str) -> Reader:
    return lambda reasons, variables: reasons.lock(subject, variables["self"])


_LIBRARIES = {"asyncio", "anyio"}

_OF_FUNCTION: dict[str, Reader] = {
    "Lock.acquire": _lock("a lock"),
    "Semaphore.acquire": _lock("a semaphore"),
    "CapacityLimiter.acquire_on_behalf_of": _lock("a limiter"),
    "Condition.wait": _always("event", "a condition to be notified"),
    "Event.wait": _always("event", "an event"),
    "Barrier.wait": _formatted("event", "a barrier ({0.n_waiting} of {0.parties} tasks have arrived)"),
    "Queue.get": _always("queue", "an item from a queue"),
    "Queue.put": _formatted("queue", "space in a queue (maxsize {0.maxsize})"),
    "Queue.join": _unfinished,
    "MemoryObjectReceiveStream.receive": _always("stream", "an item from a stream"),
    "MemoryObjectSendStream.send": _always("stream", "space in a stream"),
    "sleep": _sleep,
    "_wait": lambda reasons, variables: reasons.futures(variables["fs"]),
    "as_completed.<locals>._wait_for_one": _always("future", "the next task that as_completed() yields"),
    "_AsCompletedIterator._wait_for_one": _always("future", "the next task that as_completed() yields"),
    "wait_for": _wait_for,
    "TaskGroup.__aexit__": _group,
    "to_thread": _thread,
    "AsyncIOBackend.run_sync_in_worker_thread": _thread,
    "StreamReader._wait_for_data": _always("stream", "data on a stream"),
    "StreamWriter.drain": _always("stream", "the peer of a stream to read what was written"),
    "Process.wait": _always("process", "a child process to exit"),
}
"""The reasons of tasks suspended in functions of asyncio and anyio; of nested ones the outermost counts."""


def _reader_of(frame: FrameType) -> Reader | None:
    if str(frame.f_globals.get("__name__", "")).partition(".")[0] in _LIBRARIES:
        return _OF_FUNCTION.get(frame.f_code.co_qualname)
    return _OF_CODE.get(frame.f_code)


def _read(reader: Reader, reasons: WaitReasons, variables: Mapping[str, Any]) -> WaitReason | None:
    try:
        return reader(reasons, variables)
    except Exception:  # a class of the program, derived from asyncio's
        return None


def _is_pending(future: Any) -> bool:
    return not asyncio.Future.done(future)


def _is_future(future: Any) -> bool:
    return issubclass(type(future), asyncio.Future)
