"""A held task: a real task that has not started.

How it works. While a task is constructed, it asks its loop to run its first step (``loop.call_soon``). ``HeldTask``
intercepts that one call and keeps the step; releasing the task passes the step to the loop. Task, coroutine, context
and callbacks are the real ones all the time. (Wrapping the coroutine instead needs no such trick, but costs half as
much again per task, and the wrapper appears in tracebacks.)

A held task is not registered with asyncio, so an ``asyncio.run`` or a portal that ends does not cancel it. It notices
every waiter in ``add_done_callback``, where asyncio registers waiters on every version and on uvloop. A waiter releases
the task.

If the loop of a held task is closed, the coroutine moves: a new task on an open loop runs it in the same context, and
the outcome is written into the original task.

Private names of CPython used here: ``_register_task``, ``_unregister_task`` and ``__sleep0`` of asyncio.tasks,
``_log_destroy_pending``, ``_log_traceback``, ``_exception`` and ``_callbacks`` of a task, and the names of the modules
whose callbacks are waiters.
"""

import asyncio
import sys
from asyncio.tasks import _register_task, _unregister_task
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from types import FrameType
from typing import Any

from .._asyncio.forced_end import cancel_surely, close
from .._asyncio.stand_ins import named_as
from .._introspect.location import await_chain
from .._introspect.task_state import coroutine_of
from .._introspect.untrusted import module_name
from ..errors import DeadlockError
from .call import Call, arguments_of, call_of_callable, call_of_coroutine
from .opentelemetry import traced
from .origin import CreationSite, Origin
from .waiters import has_waiter, is_asleep, is_waited_for, waits

# Code that asserts `not task.done()` after each of a few iterations is a test; code that has slept this often between
# two checks of the same held task, and done nothing else, is waiting for it. If a function that it called made the
# check, there may be another reason (a throttle that is fed), so the limit is much higher.
_POLLS = 20
_POLLS_BY_FUNCTION = 200


@named_as(asyncio.Task)
class HeldTask(asyncio.Task[Any]):
    """The task that the code under test gets for a captured coroutine.

    Args:
        coroutine: the coroutine, which has not started yet.
        loop: the loop that will run the task; must not be closed.
        origin: the code that creates the task.
        kwargs: the arguments after the coroutine: ``name``, ``context``, and from 3.14 on ``eager_start``.
        context: the context to run in, unless `kwargs` has one.
        started_as: function, args and kwargs of the call behind `coroutine`, if the coroutine does not show them.

    Attributes:
        is_left: whether a call let the task run until the loop was idle, or its waiter has given up; the next running
            method is to resume it.
        is_never_to_start: whether the task was cancelled while it was held.
        on_drop: called if the task ends without having run.
        open_gate: lets the task run freely again, if its steps have to be requested one by one.
    """

    __slots__ = (
        "_arguments",
        "_called",
        "_context",
        "_ending",
        "_first_step",
        "_is_cancelled_too_late",
        "_kwargs",
        "_origin",
        "_polls",
        "_started_as",
        "_successor",
        "is_left",
        "is_never_to_start",
        "on_drop",
        "open_gate",
    )

    def __init__(
        self,
        coroutine: Any,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        kwargs: dict[str, Any],
        context: Context | None = None,
        started_as: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None = None,
    ) -> None:
        self._first_step: Callable[[], object] | None = None
        self._called = traced(coroutine)
        self._context: Context | None = None
        self._ending: tuple[asyncio.Handle, Callable[[], object]] | None = None
        self._origin = origin
        self._kwargs = kwargs
        self._started_as = started_as
        self._successor: asyncio.Task[Any] | None = None
        self._arguments: dict[str, Any] | None = None
        self.is_left: bool = False
        self.is_never_to_start: bool = False
        self.open_gate: Callable[[], object] | None = None
        self.on_drop: Callable[[], object] | None = None
        self._polls = 0
        self._is_cancelled_too_late = False
        shadowed = vars(loop).get("call_soon")
        loop.call_soon = self._keep_first_step  # type: ignore[method-assign, assignment]
        try:
            super().__init__(coroutine, loop=loop, **_as_held(kwargs, context))
        finally:
            if shadowed is None:
                del loop.call_soon
            else:
                loop.call_soon = shadowed  # type: ignore[method-assign]
        _unregister_task(self)
        self._log_destroy_pending = False

    def _keep_first_step(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle | None:
        try:
            owner = callback.__self__  # type: ignore[attr-defined]
        except Exception:  # a callback of other code
            owner = None
        if owner is not self:  # a callback of something else that runs while the task is constructed
            loop: Any = self.get_loop()
            return type(loop).call_soon(loop, callback, *args, context=context)  # type: ignore[no-any-return]
        self._first_step = callback
        self._context = context
        return None

    @property
    def held(self) -> bool:
        """True until the task is started, cancelled or forgotten."""
        return self._first_step is not None

    @property
    def paused(self) -> bool:
        """True if the task runs only when the test says so: it is held, or its next step has to be requested."""
        return self._first_step is not None or self.open_gate is not None

    @property
    def is_ending(self) -> bool:
        """True if the task was cancelled while it was held, and has not ended yet."""
        return self.is_never_to_start and not super().done()

    @property
    def is_abandoned(self) -> bool:
        """True if the task is running freely, and no waiter is left."""
        return not (self.paused or super().done() or self.is_never_to_start or has_waiter(self)) and not (
            self.runner.get_loop().is_closed()
        )

    @property
    def runner(self) -> asyncio.Task[Any]:
        """The task that runs the coroutine: this one, or its successor if the loop was closed while it was held."""
        return self._successor or self

    @property
    def call(self) -> Call:
        """The call of the task: its function and arguments."""
        if self._started_as:
            return call_of_callable(*self._started_as)
        return call_of_coroutine(self._called, arguments_of(self._called) if self.held else self._arguments)

    @property
    def callee(self) -> object | None:
        """The callable of a Starlette background task."""
        return self._started_as[0] if self._started_as else None

    @property
    def description(self) -> str:
        """The function, the name, and the line that created the task, for a message."""
        return f"{self.call.function} ({self.get_name()}, {self.creation})"

    @property
    def shown(self) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """The items of its `CapturedTask`, which is a tuple."""
        return self._started_as or (
            self.get_coro(),
            (),
            {name: value for name, value in self._kwargs.items() if value is not None},
        )

    @property
    def creation(self) -> CreationSite:
        """The place where the task was created."""
        return self._origin.creation(self.call)

    @property
    def is_for_thread(self) -> bool:
        """True if another thread has requested the task (``run_coroutine_threadsafe``) and may wait for its result."""
        callbacks = self._callbacks or ()
        return any(module_name(callback) == "asyncio.futures" for callback, _ in callbacks)

    @property
    def failed(self) -> bool:
        """True if the task ended with an exception. Reading this does not retrieve it: asyncio may still report it."""
        return self._exception is not None

    def release(self) -> None:
        """Start the task: its first step goes to the end of its loop's queue. A task stopped after a step resumes.

        Must run in the thread of its loop, which must not be closed (`relocate` is for that).
        """
        open_gate, self.open_gate = self.open_gate, None
        if open_gate is not None:
            open_gate()
        if self._first_step is None:
            return
        first_step = self._leave_hold()
        _register_task(self)
        self._log_destroy_pending = True
        handle = self.get_loop().call_soon(first_step, context=self._context)
        if self.is_never_to_start:
            self._ending = handle, first_step

    def end_here(self) -> None:
        """Schedule the step that ends the task again, if it was cancelled while it was held.

        A synchronous call on uvloop cannot run a step that was scheduled before.
        """
        if self._ending is not None and self.is_ending:
            handle, step = self._ending
            handle.cancel()
            self._ending = self.get_loop().call_soon(step, context=self._context), step

    def relocate(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the coroutine in a new task on `loop`, because the task's loop is closed."""
        self._leave_hold()
        coroutine: Any = self.get_coro()
        self._successor = asyncio.Task(coroutine, loop=loop, name=self.get_name(), context=self._context)
        self._successor.add_done_callback(self._take_outcome)

    def drop(self) -> None:
        """End the task as cancelled: at once if it is held or its loop is closed, else as `cancel` does."""
        loop = self.runner.get_loop()
        if self.held:
            self._leave_hold()
            self.get_coro().close()
            self._called.close()
            self._finish(asyncio.Future.cancel)
            self._never_run()
        elif not super().done() and loop.is_closed():
            close(self.runner)
            self._finish(asyncio.Future.cancel)
        elif runs_elsewhere(loop):
            with suppress(RuntimeError):  # raised if the loop was closed meanwhile, which ended the task
                loop.call_soon_threadsafe(self._end)
        elif not super().done():
            self._end()
        elif self._is_cancelled_too_late:
            self._log_traceback = False

    def _end(self) -> None:
        cancel_surely(self.runner)
        self.release()

    def abandon(self) -> None:
        """Drop a task that was created only to be matched. Its coroutine stays unchanged, for another task."""
        self._first_step = None

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the task as usual: a held task starts, and ends cancelled before its first line.

        Cancelling a failed task does not retrieve its exception (see ``cancelling.py``).
        """
        if self._log_traceback:
            self._is_cancelled_too_late = True
            return False
        if self._successor is not None:
            cancelled = self._successor.cancel(msg)
            self.release()
            return cancelled
        if self.held and self.get_loop().is_closed():
            self.drop()
            return True
        if self.held:  # the task ends in the loop's next iteration
            self.is_never_to_start = True
            self._never_run()
        cancelled = super().cancel(msg)
        self.release()
        return cancelled

    def add_done_callback(self, callback: Callable[..., object], *, context: Context | None = None) -> None:
        """Add a callback, and start the task if the callback is a waiter."""
        if self.paused and waits(callback) and not self.get_loop().is_closed():
            self.release()
        elif self.is_left and waits(callback):
            self.is_left = False
        super().add_done_callback(callback, context=context)

    def remove_done_callback(self, callback: Callable[..., object]) -> int:
        """Remove a callback, and note when the last waiter gives up: the next running method resumes the task."""
        removed = super().remove_done_callback(callback)
        if removed and not self.paused and not super().done() and waits(callback):
            self.is_left = not has_waiter(self)
        return removed

    def done(self) -> bool:
        """Return True if the task has ended. Polling a held task between sleeps raises an error instead of hanging."""
        __tracebackhide__ = True
        if self._first_step is not None:
            self._notice_poll(sys._getframe(1))
        return super().done()

    def _never_run(self) -> None:
        if self.on_drop is not None:
            self.on_drop()

    def _leave_hold(self) -> Callable[[], object]:
        step = self._first_step
        assert step is not None
        if self._started_as is None:
            self._arguments = arguments_of(self._called)
        self._first_step = None
        return step

    def _finish(self, method: Callable[..., object], *args: object) -> None:
        try:
            method(self, *args)
        except RuntimeError:  # raised for done callbacks whose loop is closed; the state is set nevertheless
            assert super().done()

    def _take_outcome(self, successor: "asyncio.Task[Any]") -> None:
        if successor.cancelled():
            self._finish(asyncio.Future.cancel)
        elif (error := successor.exception()) is not None:
            self._finish(asyncio.Future.set_exception, error)
        else:
            self._finish(asyncio.Future.set_result, successor.result())

    def _notice_poll(self, asker: FrameType) -> None:
        __tracebackhide__ = True
        module = str(asker.f_globals.get("__name__", ""))
        if module.partition(".")[0] in {"asyncio", "anyio", __name__.partition(".")[0]} or self.get_loop().is_closed():
            return
        poller = asyncio.current_task(self.get_loop())
        if poller is None or not is_waited_for(poller):
            return
        if self._polls >= _POLLS_BY_FUNCTION:
            self._polls = 0
            raise DeadlockError(
                f"deadlock: {poller.get_name()} polls done() of {self.call.function}, which is held: "
                f"it has not started, and nothing starts it.\n"
                f"  {self.creation}\n"
                f"Run it first:  await background_tasks.run_all_async()\n"
                f"or wait for the task itself, which starts it:  await task\n"
                f"or do not hold it:  background_tasks.start_capturing(ignore={self.call.function!r})"
            )
        self.get_loop().call_soon(self._count_poll, poller, asker)

    def _count_poll(self, poller: "asyncio.Task[Any]", asker: FrameType) -> None:
        """Count a poll once the poller is suspended, if it sleeps; otherwise it has other work."""
        asks_itself = any(frame is asker for frame in await_chain(coroutine_of(poller)))
        weight = _POLLS_BY_FUNCTION // _POLLS if asks_itself else 1
        self._polls = self._polls + weight if is_asleep(poller) else 0


def _as_held(kwargs: dict[str, Any], context: Context | None) -> dict[str, Any]:
    given = kwargs.get("context")
    kwargs = {**kwargs, "context": context if given is None else given}
    if "eager_start" in kwargs:
        kwargs["eager_start"] = False
    return kwargs


def runs_elsewhere(loop: asyncio.AbstractEventLoop) -> bool:
    """Return True if another thread runs `loop`, so that this thread must not touch it."""
    return loop.is_running() and loop is not asyncio._get_running_loop()
