"""A task that is held: real, and not started.

How it works. A task asks its loop to run its first step (``loop.call_soon``) while it is constructed. ``HeldTask``
puts itself in front of that one call and keeps the step; releasing the task hands the step to the loop. Task,
coroutine, context and callbacks are the real ones all the time. (Wrapping the coroutine instead needs no such trick,
but costs half as much again per task and shows the wrapper in tracebacks.)

A held task is not registered with asyncio, so the ``asyncio.run`` or portal that ends does not cancel it. It learns of
everybody who waits for it through ``add_done_callback``: that is where asyncio, on every version and on uvloop, puts
the waiter. Waiting releases.

When its loop is closed before it ran, the coroutine moves: a new task on a living loop runs it in the same context, and
the outcome is written into the original.

Private names of CPython used here: ``_register_task``, ``_unregister_task`` and ``__sleep0`` of asyncio.tasks,
``_log_destroy_pending``, ``_log_traceback``, ``_exception`` and ``_callbacks`` of a task, and the names of the modules
whose callbacks wait.
"""

import asyncio
import sys
from asyncio.tasks import _register_task, _unregister_task
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from types import FrameType
from typing import Any

from ..ending import cancel_surely, close
from ..errors import BackgroundTasksDeadlock
from ..named_as import named_as
from ..sites import await_chain
from ..task_state import coroutine_of
from ..untrusted import module_name
from .call import Call, arguments_of, call_of_callable, call_of_coroutine
from .creator import Creation, Creator
from .opentelemetry import traced
from .waiters import has_waiter, is_asleep, is_waited_for, waits

# A loop that asserts `not task.done()` after each of a few turns is a test; one that has slept this often between two
# looks at the same held task, and done nothing else, is waiting for it. Where a function that was called in between
# has looked, it may have had another reason (a throttle that is fed); then it takes much longer.
_POLLS = 20
_POLLS_BY_FUNCTION = 200


@named_as(asyncio.Task)
class HeldTask(asyncio.Task[Any]):
    """The task that the code under test gets for a captured coroutine.

    Args:
        coroutine: not started yet.
        loop: where it will run; must not be closed.
        creator: what creates it.
        kwargs: what was passed beside the coroutine: ``name``, ``context``, and from 3.14 on ``eager_start``.
        context: to run in, where `kwargs` names none.
        started_as: function, args and kwargs of the call behind `coroutine`, where that does not tell.

    Attributes:
        is_left: whether a call let it run until nothing could go on, or who waited for it has given up; the next
            running call is to go on with it.
        is_never_to_start: whether it was cancelled while it was held.
        on_forget: called if it ends without having run.
        let_go: what lets it go on, where its steps have to be asked for one by one.
    """

    __slots__ = (
        "_arguments",
        "_called",
        "_context",
        "_creator",
        "_ending",
        "_first_step",
        "_is_cancelled_too_late",
        "_kwargs",
        "_polls",
        "_started_as",
        "_successor",
        "is_left",
        "is_never_to_start",
        "let_go",
        "on_forget",
    )

    def __init__(
        self,
        coroutine: Any,
        loop: asyncio.AbstractEventLoop,
        creator: Creator,
        kwargs: dict[str, Any],
        context: Context | None = None,
        started_as: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None = None,
    ) -> None:
        self._first_step: Callable[[], object] | None = None
        self._called = traced(coroutine)
        self._context: Context | None = None
        self._ending: tuple[asyncio.Handle, Callable[[], object]] | None = None
        self._creator = creator
        self._kwargs = kwargs
        self._started_as = started_as
        self._successor: asyncio.Task[Any] | None = None
        self._arguments: dict[str, Any] | None = None
        self.is_left: bool = False
        self.is_never_to_start: bool = False
        self.let_go: Callable[[], object] | None = None
        self.on_forget: Callable[[], object] | None = None
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
        except Exception:  # somebody else's callback
            owner = None
        if owner is not self:  # whatever else runs while the task is constructed
            loop: Any = self.get_loop()
            return type(loop).call_soon(loop, callback, *args, context=context)  # type: ignore[no-any-return]
        self._first_step = callback
        self._context = context
        return None

    @property
    def held(self) -> bool:
        """Whether it has not been started, cancelled or forgotten yet."""
        return self._first_step is not None

    @property
    def stopped(self) -> bool:
        """Whether it goes on only when the test says so: it is held, or waits for its next step to be asked for."""
        return self._first_step is not None or self.let_go is not None

    @property
    def is_ending(self) -> bool:
        """Tell whether it was cancelled while it was held, and has not ended yet."""
        return self.is_never_to_start and not super().done()

    @property
    def is_abandoned(self) -> bool:
        """Tell whether it goes on, and nothing waits for it any more."""
        return not (self.stopped or super().done() or self.is_never_to_start or has_waiter(self)) and not (
            self.runner.get_loop().is_closed()
        )

    @property
    def runner(self) -> asyncio.Task[Any]:
        """The task that runs the coroutine: itself, or its successor if its loop died while it was held."""
        return self._successor or self

    @property
    def call(self) -> Call:
        """What it calls."""
        if self._started_as:
            return call_of_callable(*self._started_as)
        return call_of_coroutine(self._called, arguments_of(self._called) if self.held else self._arguments)

    @property
    def callee(self) -> object | None:
        """The callable of a Starlette background task."""
        return self._started_as[0] if self._started_as else None

    @property
    def known_as(self) -> str:
        """The function, the name, and the line that created it, for a message."""
        return f"{self.call.function} ({self.get_name()}, {self.creation})"

    @property
    def shown(self) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """The tuple that a `CapturedTask` is."""
        return self._started_as or (
            self.get_coro(),
            (),
            {name: value for name, value in self._kwargs.items() if value is not None},
        )

    @property
    def creation(self) -> Creation:
        """Where it was created."""
        return self._creator.creation(self.call)

    @property
    def is_for_thread(self) -> bool:
        """Whether another thread has asked for it (``run_coroutine_threadsafe``) and may wait for its result."""
        callbacks = self._callbacks or ()
        return any(module_name(callback) == "asyncio.futures" for callback, _ in callbacks)

    @property
    def failed(self) -> bool:
        """Whether it ended with an error. To ask is not to retrieve it: asyncio still tells if nobody does."""
        return self._exception is not None

    def release(self) -> None:
        """Start it: its first step goes to the end of its loop's queue. One that is stopped at a step goes on.

        Must run in the thread of its loop, and its loop must not be closed (`move_to` is for that).
        """
        let_go, self.let_go = self.let_go, None
        if let_go is not None:
            let_go()
        if self._first_step is None:
            return
        first_step = self._leave_hold()
        _register_task(self)
        self._log_destroy_pending = True
        handle = self.get_loop().call_soon(first_step, context=self._context)
        if self.is_never_to_start:
            self._ending = handle, first_step

    def end_here(self) -> None:
        """Hand its loop the step with which it ends once more, if it was cancelled while it was held.

        A synchronous call on uvloop cannot run what uvloop was handed before.
        """
        if self._ending is not None and self.is_ending:
            handle, step = self._ending
            handle.cancel()
            self._ending = self.get_loop().call_soon(step, context=self._context), step

    def move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run its coroutine in a new task on `loop`, because its own loop is closed."""
        self._leave_hold()
        coroutine: Any = self.get_coro()
        self._successor = asyncio.Task(coroutine, loop=loop, name=self.get_name(), context=self._context)
        self._successor.add_done_callback(self._take_outcome)

    def forget(self) -> None:
        """End it as cancelled: at once if it is held or its loop is closed, else as `cancel` does."""
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
            with suppress(RuntimeError):  # closed in the meantime, and then it ended it
                loop.call_soon_threadsafe(self._end)
        elif not super().done():
            self._end()
        elif self._is_cancelled_too_late:
            self._log_traceback = False

    def _end(self) -> None:
        cancel_surely(self.runner)
        self.release()

    def discard(self) -> None:
        """Drop a task that was made only to be looked at. Its coroutine stays as it is, for another task."""
        self._first_step = None

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel it as any task: one that is held starts, to end cancelled before its first line.

        To cancel one that has failed is not to look at its error (see ``cancelling.py``).
        """
        if self._log_traceback:
            self._is_cancelled_too_late = True
            return False
        if self._successor is not None:
            cancelled = self._successor.cancel(msg)
            self.release()
            return cancelled
        if self.held and self.get_loop().is_closed():
            self.forget()
            return True
        if self.held:  # it ends in the loop's next iteration
            self.is_never_to_start = True
            self._never_run()
        cancelled = super().cancel(msg)
        self.release()
        return cancelled

    def add_done_callback(self, callback: Callable[..., object], *, context: Context | None = None) -> None:
        """Add a callback, and start the task if the callback is somebody who waits for it."""
        if self.stopped and waits(callback) and not self.get_loop().is_closed():
            self.release()
        elif self.is_left and waits(callback):
            self.is_left = False
        super().add_done_callback(callback, context=context)

    def remove_done_callback(self, callback: Callable[..., object]) -> int:
        """Remove a callback, and note when the last waiter gives up: the next running call takes the task up."""
        removed = super().remove_done_callback(callback)
        if removed and not self.stopped and not super().done() and waits(callback):
            self.is_left = not has_waiter(self)
        return removed

    def done(self) -> bool:
        """Whether it has ended. Asking a held task again and again between sleeps ends in an error, not in a hang."""
        __tracebackhide__ = True
        if self._first_step is not None:
            self._notice_poll(sys._getframe(1))
        return super().done()

    def _never_run(self) -> None:
        if self.on_forget is not None:
            self.on_forget()

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
        except RuntimeError:  # it has done callbacks, and their loop is closed; the state is set all the same
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
            raise BackgroundTasksDeadlock(
                f"{poller.get_name()} asks again and again whether {self.call.function} is done, but it is held: "
                f"it has not started, and nothing starts it.\n"
                f"  {self.creation}\n"
                f"Run it first:  await background_tasks.run_all_async()\n"
                f"or wait for the task itself, which starts it:  await task\n"
                f"or do not hold it:  background_tasks.start_capturing(ignore={self.call.function!r})"
            )
        self.get_loop().call_soon(self._count_poll, poller, asker)

    def _count_poll(self, poller: "asyncio.Task[Any]", asker: FrameType) -> None:
        """Runs once the poller is suspended: in a sleep it is polling, in anything else it has work of its own."""
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
    """Whether another thread runs `loop`, so that nothing of it is to be touched from here."""
    return loop.is_running() and loop is not asyncio._get_running_loop()
