"""Instruments, which receive the events of all event loops of the process; modelled on trio's ``Instrument``.

A function of asyncio in which an event occurs is replaced as long as an instrument defines the method of that event,
and only once, however many instruments there are. So they can be removed in any order. These class attributes see every
loop in every thread, and leave a program's task factory and exception handlers alone: ``create_task`` (all functions
that create tasks end there, however they were imported), ``call_exception_handler``, and the methods that run a loop,
of ``asyncio.BaseEventLoop`` and uvloop.

If another library (OpenTelemetry, Sentry) has wrapped the replacement since, it stays in place when the last instrument
is removed, and only calls the original. That library may restore it later; then its next call removes it.

Private names of CPython used here: ``asyncio.runners._cancel_all_tasks``, which is replaced.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from types import CodeType, FrameType
from typing import Any, TypeAlias, TypeVar

from .._introspect.untrusted import module_name
from .creation_trace import without_our_frames
from .patching import Patch

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Loop: TypeAlias = asyncio.AbstractEventLoop
_Replace: TypeAlias = Callable[["_Replaced", Callable[..., Any]], Callable[..., Any]]

TRANSPARENT: dict[int, CodeType] = {
    id(function.__code__): function.__code__
    for function in (getattr(asyncio.tasks, name, None) for name in ("create_task", "ensure_future", "_ensure_future"))
    if function is not None
}
"""Functions that create a task for their caller.

By id: the hash of a code object reads all of its code. Each code is kept here, so that its id stays unique.
"""


def transparent_frame(function: _Function) -> _Function:
    """Decorate a replacement of ``create_task``, which is skipped in the search for the creator."""
    TRANSPARENT[id(function.__code__)] = function.__code__
    return function


class Instrument:
    """A receiver of events of all loops; a subclass defines the methods of the events that it needs."""

    def creating_task(
        self, loop: _Loop, coroutine: Any, kwargs: dict[str, Any], frame: FrameType
    ) -> "asyncio.Task[Any] | None":
        """Return a task to use instead of the one that `frame` requests; None to let the loop create it.

        The instrument that was added last is asked first. If one returns a task, no other event occurs.
        """

    def task_created(self, loop: _Loop, task: Any, coroutine: Any, frame: FrameType) -> None:
        """Observe the new `task`, which the loop, or the program's task factory, has created for `frame`."""

    def exception_reported(self, loop: _Loop, context: Mapping[str, Any]) -> bool:
        """Observe a call of the loop's exception handler; return False to prevent the call."""
        raise NotImplementedError  # never called: the hub calls only the methods that a subclass defines

    def cancelling_all_tasks(self, loop: _Loop) -> None:
        """Act before a runner looks for the remaining tasks of `loop`, to cancel them."""

    def cancelling_tasks(self, loop: _Loop, tasks: "set[asyncio.Task[Any]]") -> None:
        """Act before a runner cancels `tasks`, the remaining tasks of `loop`."""

    def loop_starting(self, loop: _Loop) -> None:
        """Act before `loop` runs; an exception that is raised here is raised by the method that runs the loop."""


class Hub:
    """The instruments of the process, and the functions that are replaced for them."""

    def __init__(self) -> None:
        self._instruments: list[Instrument] = []
        self._replaced: dict[tuple[int, str], _Replaced] = {}
        self._loops_of: tuple[bool, bool] = (False, False)

    @contextmanager
    def added(self, instrument: Instrument) -> Iterator[None]:
        """Send the events to `instrument` inside the block."""
        self._instruments.append(instrument)
        self._update()
        try:
            yield
        finally:
            self._instruments.remove(instrument)
            self._update()

    def find_loops(self) -> None:
        """Include the loops of uvloop and nest_asyncio, if they have been imported since the last instrument."""
        if self._instruments and self._loops_of != _other_loops():
            self._update()

    def _update(self) -> None:
        """Replace the functions in which an event occurs that an instrument listens to, and restore the others."""
        self._loops_of = _other_loops()
        unused = dict(self._replaced)
        for owner, name, replace, first, then in _functions(*self._loops_of):
            before, after = self._listeners(first)[::-1], self._listeners(then)
            if before or after:
                key = id(owner), name
                unused.pop(key, None)
                if key not in self._replaced:
                    self._replaced[key] = _Replaced(owner, name, replace)
                self._replaced[key].first, self._replaced[key].then = before, after
        for key, replaced in unused.items():
            del self._replaced[key]
            replaced.retire()

    def _listeners(self, event: str) -> tuple[Callable[..., Any], ...]:
        default = getattr(Instrument, event, None)
        listening = [each for each in self._instruments if getattr(type(each), event, None) is not default]
        return tuple(getattr(each, event) for each in listening)


class _Replaced:
    """A function of asyncio that is replaced for the listeners of one or two events.

    Attributes:
        first: the listeners to the event before the call.
        then: the listeners to the event after the call.
    """

    first: tuple[Callable[..., Any], ...] = ()
    then: tuple[Callable[..., Any], ...] = ()

    def __init__(self, owner: Any, name: str, replace: _Replace) -> None:
        self._patch = Patch(owner, name, partial(replace, self))

    def retire(self) -> None:
        """Restore the function: now, or when it is called after another library has restored the replacement."""
        self.first, self.then = (self._restore,), ()
        self._restore()

    def _restore(self, *_: object) -> None:
        self._patch.restore()


hub = Hub()


def _other_loops() -> tuple[bool, bool]:
    """Return whether the loops of uvloop and nest_asyncio have methods of their own in this process."""
    return hasattr(sys.modules.get("uvloop"), "Loop"), hasattr(asyncio, "_nest_patched")


def _functions(has_uvloop: bool, has_nest_asyncio: bool) -> Iterator[tuple[Any, str, _Replace, str, str]]:
    """Yield owner, name, replacement, the event before and the event after, for each function in which events occur."""
    uvloop: Any = sys.modules.get("uvloop")
    loop_classes: list[Any] = [asyncio.BaseEventLoop, uvloop.Loop] if has_uvloop else [asyncio.BaseEventLoop]
    for loop_class in loop_classes:
        yield loop_class, "create_task", _creating, "creating_task", "task_created"
        yield loop_class, "call_exception_handler", _reporting, "exception_reported", ""
    yield asyncio.runners, "_cancel_all_tasks", _cancelling_all, "cancelling_all_tasks", "cancelling_tasks"
    yield asyncio.BaseEventLoop, "run_forever", _starting, "loop_starting", ""
    if has_nest_asyncio:
        yield asyncio.SelectorEventLoop, "run_forever", _starting, "loop_starting", ""
        yield asyncio.SelectorEventLoop, "run_until_complete", _starting, "loop_starting", ""
    if has_uvloop:
        yield uvloop.Loop, "run_until_complete", _starting, "loop_starting", ""


def _creating(to: _Replaced, create_task: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(create_task)
    @transparent_frame
    def instrumented_create_task(self: _Loop, coro: Any, **kwargs: Any) -> Any:
        frame = sys._getframe(1)
        for creating_task in to.first:
            task = creating_task(self, coro, kwargs, frame)
            if task is not None:
                break
        else:
            task = create_task(self, coro, **kwargs)
            for task_created in to.then:
                task_created(self, task, coro, frame)
        if getattr(task, "_source_traceback", None):  # in debug mode
            without_our_frames(task)
        return task

    return instrumented_create_task


def _reporting(to: _Replaced, call_exception_handler: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call_exception_handler)
    def instrumented_call_exception_handler(self: _Loop, context: dict[str, Any]) -> Any:
        answers = [exception_reported(self, context) for exception_reported in to.first]
        return None if False in answers else call_exception_handler(self, context)

    return instrumented_call_exception_handler


def _cancelling_all(to: _Replaced, cancel_all_tasks: Callable[..., Any]) -> Callable[..., Any]:
    is_asyncios_own = module_name(cancel_all_tasks) == "asyncio.runners"

    @wraps(cancel_all_tasks)
    def instrumented_cancel_all_tasks(loop: _Loop) -> Any:
        for cancelling_all_tasks in to.first:
            cancelling_all_tasks(loop)
        tasks = asyncio.all_tasks(loop)
        if not tasks and is_asyncios_own:
            return None  # it would only look for tasks again, and return
        for cancelling_tasks in to.then:
            cancelling_tasks(loop, tasks)
        return cancel_all_tasks(loop)

    return instrumented_cancel_all_tasks


def _starting(to: _Replaced, run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def instrumented_run(self: _Loop, *args: Any) -> Any:
        __tracebackhide__ = True
        try:
            for loop_starting in to.first:
                loop_starting(self)
        except BaseException:
            for coroutine in filter(asyncio.iscoroutine, args):  # otherwise Python reports it as never awaited
                coroutine.close()
            raise
        return run(self, *args)

    return instrumented_run
