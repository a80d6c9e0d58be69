"""The loop of a run that a report shows: it also records the executed lines, and which step woke which.

Private names of CPython used here: ``_callback`` of a handle, ``_exception`` of a task.
"""

import asyncio
import inspect
import sys
from collections.abc import Callable
from contextvars import Context
from dataclasses import replace
from types import FrameType
from typing import Any

from .._introspect.location import (
    SourceLocation,
    await_chain,
    behind,
    definition,
    location_in,
    raising_locations,
    waiting_locations,
)
from .._introspect.project_code import package_of
from .._introspect.suspension import wait_point_of
from .._introspect.wait_reason import WaitReason
from .._network.network_event import NetworkEvent
from .arrivals import stepping_task
from .controlled_loop import ControlledLoop
from .line_tracer import LineTracer
from .network_arrival import NetworkArrival
from .tasks import ControlledTask
from .trace import Outcome, StepDetail, Trace


class RecordingLoop(ControlledLoop):
    """A `ControlledLoop` whose trace has the detail of every step. It is several times slower, in the same order."""

    _end: Outcome | None = None  # of the test, until its step has ended

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._is_project = self._options.is_project_file
        self._wakers: dict[int, tuple[asyncio.Handle, int | None]] = {}
        self._recorder = LineTracer(self._is_project)

    @property
    def current_step(self) -> int:
        """The index of the running step in the trace."""
        return len(self._rows)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback, and record the step that does so."""
        handle = super().call_soon(callback, *args, context=context)
        self._wakers[id(handle)] = handle, self.current_step if self.is_running() else None
        task = stepping_task(callback)
        if isinstance(task, ControlledTask) and task._explorer_actor.step == 0 and task._explorer_created_at is None:
            # The first call is the creation of the task.
            task._explorer_created_at = _calling(sys._getframe(1), self._is_project)
        return handle

    def _run_handles(self, size: int, entry: int) -> None:
        for _ in range(size):
            handle: Any = self._ready[0]
            task, waker = stepping_task(handle._callback), self._wakers.pop(id(handle), (handle, None))[1]
            at = () if task is None else _at(task.get_coro(), self._is_project)
            event, caused_by = self._event(handle)
            before = len(self._rows)
            with self._recorder:
                super()._run_handles(1, entry)
            if len(self._rows) > before:
                until, waits_for, end = ((), None, None) if task is None else self._outcome(task)
                through = () if task is None or task.done() else _through(task.get_coro(), self._is_project)
                if self._end is not None:
                    until, waits_for, end, self._end = (() if end is None else until), None, self._end, None
                recorded = StepDetail(at, until, waits_for, end, waker, self._recorder.lines, through, event, caused_by)
                self._rows[-1] = (*self._rows[-1][:-1], recorded)

    def _event(self, handle: Any) -> tuple[NetworkEvent | None, tuple[int, ...]]:
        """Return the event of the network that is about to arrive, and the steps of this loop that have caused it."""
        if type(handle) is not NetworkArrival or handle.cancelled():
            return None, ()
        event = handle.event()
        return event, tuple(step for loop, step in handle.causes(event) if loop is self)

    def end_main(self, outcome: Outcome) -> None:
        """Take note of the outcome of the test, whose task may be the runner's own, and continue."""
        super().end_main(outcome)
        self._end = outcome

    def trace(self) -> Trace:
        """Return the trace so far, with the names of tasks that a report shows."""
        trace = super().trace()

        def with_shown_names(recorded: StepDetail | None) -> StepDetail | None:
            if recorded is None or recorded.waiting_for is None:
                return recorded
            names = (
                trace.display_name(name[1:]) if name[:1] == _TO_BE_SHOWN else name
                for name in recorded.waiting_for.tasks
            )
            return recorded._replace(waiting_for=recorded.waiting_for._replace(tasks=tuple(names)))

        steps = [step._replace(detail=with_shown_names(step.detail)) for step in trace.steps]
        return replace(trace, rows=tuple(steps))

    def _outcome(self, task: Any) -> tuple[tuple[SourceLocation, ...], WaitReason | None, Outcome | None]:
        """Return the lines at which a task is suspended or has raised, and the reason or the outcome."""
        if not task.done():
            self._names.assign()
            wait = wait_point_of(task, self._is_project, _name)
            return waiting_locations(task.get_coro(), self._is_project), None if wait is None else wait.reason, None
        if task.cancelled():
            return (), None, Outcome("cancelled")
        error = task._exception  # `exception()` would mark the exception as retrieved
        if error is None:
            return (), None, Outcome("returned")
        return raising_locations(error, self._is_project), None, Outcome("raised", type(error).__qualname__)


def _at(coroutine: Any, is_project: Any) -> tuple[SourceLocation, ...]:
    """Return the lines of the project at which a task resumes; before its first step, the line of its function."""
    generator = behind(coroutine)
    if getattr(generator, "ag_frame", None) is not None and generator.ag_await is None:  # at its start, or at a yield
        return (location_in(generator.ag_code, generator.ag_frame.f_lineno),)
    code = getattr(coroutine, "cr_code", None)
    if code is not None and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        return (definition(code),)
    return tuple(site for site in waiting_locations(coroutine, is_project) if is_project[site.file])


def _through(coroutine: Any, is_project: Any) -> tuple[str, ...]:
    """Return the libraries in whose functions a coroutine is suspended."""
    files = (frame.f_code.co_filename for frame in await_chain(coroutine))
    return tuple(dict.fromkeys(package for file in files if not is_project[file] and (package := package_of(file))))


def _calling(frame: FrameType | None, is_project: Any) -> SourceLocation | None:
    """Return the line of the project from which `frame` was called in the current step; None if there is none."""
    while frame is not None and frame.f_code is not _RUN_HANDLES:
        code = frame.f_code
        if is_project[code.co_filename]:
            return location_in(code, frame.f_lineno)
        frame = frame.f_back
    return None


_RUN_HANDLES = ControlledLoop._run_handles.__code__


_TO_BE_SHOWN = "\0"
"""The first character of a name that `Trace.shown` has to complete at the end, when all tasks have started."""


def _name(task: Any) -> str:
    # A task that the loop did not create has no actor before its first step.
    actor = getattr(task, "_explorer_actor", None)
    return task.get_name() if actor is None else f"{_TO_BE_SHOWN}{actor.name}"
