"""A task that is held: real, and not started.

How it works. A task asks its loop to run its first step (``loop.call_soon``) while it is constructed. ``hold`` puts
itself in front of that one call and keeps the step; releasing the task hands the step to the loop. Task, coroutine,
context and callbacks are the real ones all the time. (Wrapping the coroutine instead needs no such trick, but costs
half as much again per task and shows the wrapper in tracebacks.)

A held task is not registered with asyncio, so the ``asyncio.run`` or portal that ends does not cancel it. It learns of
everybody who waits for it through ``add_done_callback``: that is where asyncio, on every version and on uvloop, puts
the waiter. Waiting releases.

When its loop is closed before it ran, the coroutine moves: a new task on a living loop runs it in the same context, and
the outcome is written into the original.

Private names of CPython used here: ``_register_task``, ``_unregister_task`` and ``__sleep0`` of asyncio.tasks,
``_log_destroy_pending`` and ``_exception`` of a task, and the names of the modules whose callbacks wait.
"""

import asyncio
import sys
from asyncio.tasks import _register_task, _unregister_task
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from functools import partial
from types import CodeType
from typing import Any, TypeAlias, TypeVar

from ..errors import BackgroundTasksDeadlock
from ..sites import Site, await_chain, definition, site_at
from .call import Call, call_of_callable, call_of_coroutine

Origin: TypeAlias = tuple[CodeType | None, int]
"""The code that created a task and the offset of the instruction in it; no code if that could not be seen."""

Step: TypeAlias = tuple[Callable[..., object], tuple[Any, ...], Context]

T = TypeVar("T")

_WAITING_MODULES = {
    "asyncio.base_events",
    "asyncio.staggered",
    "asyncio.taskgroups",
    "asyncio.tasks",
    "anyio._backends._asyncio",
    "uvloop.loop",
}

# A loop that asserts `not task.done()` after each of a few turns is a test; one that has slept this often between two
# looks at the same held task, and done nothing else, is waiting for it.
_POLLS = 20


class HeldTask(asyncio.Task[Any]):
    """The task that the code under test gets for a captured coroutine. Made by `hold`."""

    _origin: Origin
    shown: tuple[Any, tuple[Any, ...], dict[str, Any]]
    """The tuple that a `CapturedTask` is."""

    __slots__ = ("_call", "_first_step", "_origin", "_polls", "_successor", "shown")

    def __init__(self, coroutine: Any, **kwargs: Any) -> None:
        self._first_step: Step | None = None
        self._successor: asyncio.Task[Any] | None = None
        self._call: Call | None = None
        self._polls = 0
        super().__init__(coroutine, **kwargs)

    @property
    def held(self) -> bool:
        """Whether it has not been started, cancelled or forgotten yet."""
        return self._first_step is not None

    @property
    def runner(self) -> asyncio.Task[Any]:
        """The task that runs the coroutine: itself, or its successor if its loop died while it was held."""
        return self._successor or self

    @property
    def call(self) -> Call:
        """What it calls."""
        if self._call is None:
            self._call = call_of_coroutine(self.get_coro())
        return self._call

    @property
    def created_at(self) -> Site:
        """The line that created it; where its function is defined, if the loop itself or another thread did."""
        code, instruction = self._origin
        if code is not None:
            return site_at(code, instruction)
        own_code = self.call.code
        return definition(own_code) if own_code else Site("?", 0, self.call.function)

    @property
    def failed(self) -> bool:
        """Whether it ended with an error. To ask is not to retrieve it: asyncio still tells if nobody does."""
        return self._exception is not None

    def release(self) -> None:
        """Start it: its first step goes to the end of its loop's queue. Does nothing unless it is held.

        Must run in the thread of its loop, and its loop must not be closed (`move_to` is for that).
        """
        if self._first_step is None:
            return
        callback, args, context = self._leave_hold()
        _register_task(self)
        self._log_destroy_pending = True
        self.get_loop().call_soon(callback, *args, context=context)

    def move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run its coroutine in a new task on `loop`, because its own loop is closed."""
        _, _, context = self._leave_hold()
        coroutine: Any = self.get_coro()
        self._successor = asyncio.Task(coroutine, loop=loop, name=self.get_name(), context=context)
        self._successor.add_done_callback(self._take_outcome)

    def forget(self) -> None:
        """End it as cancelled, now, without running anything of its coroutine. Does nothing unless it is held."""
        if self._first_step is None:
            return
        self._leave_hold()
        self._finish(asyncio.Future.cancel, self)

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel it as any task: one that is held starts, to end cancelled before its first line."""
        if self._successor is not None:
            return self._successor.cancel(msg)
        if self.held and self.get_loop().is_closed():
            self.forget()
            return True
        cancelled = super().cancel(msg)
        self.release()
        return cancelled

    def add_done_callback(self, callback: Callable[..., object], *, context: Context | None = None) -> None:
        """Add a callback, and start the task if the callback is somebody who waits for it."""
        if self._first_step is not None and _waits(callback) and not self.get_loop().is_closed():
            self.release()
        super().add_done_callback(callback, context=context)

    def done(self) -> bool:
        """Whether it has ended. Asking a held task again and again between sleeps ends in an error, not in a hang."""
        if self._first_step is not None:
            self._notice_poll(sys._getframe(1).f_globals.get("__name__", ""))
        return super().done()

    def mark(self, variable: ContextVar[T], value: T) -> None:
        """Set a context variable for its coroutine and all that this starts. Does nothing unless it is held."""
        if self._first_step is None:
            return
        context = self._first_step[2]
        try:
            context.run(variable.set, value)
        except RuntimeError:  # it shares the context that is the current one
            variable.set(value)

    def _leave_hold(self) -> Step:
        step = self._first_step
        assert step is not None
        self.call  # noqa: B018  # read now: once it runs, its arguments are ordinary variables
        self._first_step = None
        return step

    def _finish(self, method: Callable[..., object], *args: object) -> None:
        self.get_coro().close()
        try:
            method(*args)
        except RuntimeError:  # it has done callbacks, and their loop is closed; the state is set all the same
            assert super().done()

    def _take_outcome(self, successor: "asyncio.Task[Any]") -> None:
        if successor.cancelled():
            self._finish(asyncio.Future.cancel, self)
        elif (error := successor.exception()) is not None:
            self._finish(asyncio.Future.set_exception, self, error)
        else:
            self._finish(asyncio.Future.set_result, self, successor.result())

    def _notice_poll(self, asker: str) -> None:
        if asker.partition(".")[0] in {"asyncio", "anyio", __name__.partition(".")[0]} or self.get_loop().is_closed():
            return
        poller = _current_task(self.get_loop())
        if poller is None:
            return
        if self._polls >= _POLLS:
            self._polls = 0
            raise BackgroundTasksDeadlock(
                f"{poller.get_name()} asks again and again whether {self.call.function} is done, but it is held: "
                f"it has not started, and nothing starts it.\n"
                f"  created at {self.created_at}\n"
                f"Run it first:  await background_tasks.run_all_async()\n"
                f"or wait for the task itself, which starts it:  await task\n"
                f"or do not hold it:  background_tasks.start_capturing(ignore={self.call.function!r})"
            )
        self.get_loop().call_soon(self._count_poll, poller)

    def _count_poll(self, poller: "asyncio.Task[Any]") -> None:
        """Runs once the poller is suspended: in a sleep it is polling, in anything else it has work of its own."""
        frames = list(await_chain(poller.get_coro()))
        asleep = bool(frames) and frames[-1].f_code in _SLEEPS
        self._polls = self._polls + 1 if asleep else 0


_NOT_EAGER = {"eager_start": False} if sys.version_info >= (3, 14) else {}
_SLEEPS = (asyncio.sleep.__code__, asyncio.tasks.__sleep0.__code__)  # type: ignore[attr-defined]


def hold(
    loop: asyncio.AbstractEventLoop,
    coroutine: Any,
    origin: Origin,
    kwargs: dict[str, Any],
    started_as: tuple[Any, tuple[Any, ...], dict[str, Any]] | None = None,
) -> HeldTask:
    """Make a task for `coroutine` on `loop`, and keep its first step.

    Args:
        loop: where it will run; must not be closed.
        coroutine: not started yet.
        origin: what creates it.
        kwargs: what was passed beside the coroutine: ``name``, ``context``, and from 3.14 on ``eager_start``.
        started_as: function, args and kwargs of the call behind `coroutine`, where that does not tell.
    """
    caught: list[Step] = []
    real_call_soon = loop.call_soon

    def call_soon(callback: Callable[..., object], *args: Any, context: Context | None = None) -> object:
        if isinstance(getattr(callback, "__self__", None), HeldTask) and not caught:
            caught.append((callback, args, context or copy_context()))
            return None
        return real_call_soon(callback, *args, context=context)

    shadowed = vars(loop).get("call_soon")
    loop.call_soon = call_soon  # type: ignore[method-assign, assignment]
    try:
        task = HeldTask(coroutine, loop=loop, **{**kwargs, **_NOT_EAGER})
    finally:
        if shadowed is None:
            del loop.call_soon
        else:
            loop.call_soon = shadowed  # type: ignore[method-assign]
    task._first_step = caught[0]
    task._origin = origin
    task.shown = started_as or (coroutine, (), kwargs)
    task._call = call_of_callable(*started_as) if started_as else None
    _unregister_task(task)
    task._log_destroy_pending = False
    return task


def discard(task: HeldTask) -> None:
    """Drop a task that was made only to be looked at; its coroutine stays as it was, not started."""
    task._first_step = None


def _waits(callback: Any) -> bool:
    while isinstance(callback, partial):
        callback = callback.func
    if isinstance(getattr(callback, "__self__", None), asyncio.Task):
        return str(callback.__name__).endswith("wakeup")  # of a task that awaits it; in C, so without a module
    return getattr(callback, "__module__", None) in _WAITING_MODULES


def _current_task(loop: asyncio.AbstractEventLoop) -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task(loop)
    except RuntimeError:
        return None
