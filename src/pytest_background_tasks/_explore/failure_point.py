"""The moment of a failure: the line that raises its error, with all frames in place and the loop running.

When a run has failed, that moment is over: the frames that the error propagated through are unwound. But a schedule can
be replayed, so it is run twice. The first run records every error that is raised; at its end it is known which of them
the run failed with, for example the third `AssertionError`. The second run stops when the third one is raised.

A deadlock is not raised anywhere. Its moment is the end of the run, and its place is the line where the scenario is
suspended.

Private name of CPython used here: ``_set_running_loop`` of asyncio, which is meant for loops.
"""

import asyncio
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeAlias

from .._introspect.location import await_chain
from .controlled_loop import ControlledLoop
from .determinism import breakpoints_off, process_of
from .execution import Execution, execute, leaves
from .helper_thread import HelperThread
from .options import Options
from .run import Program
from .schedule import Cancel, Schedule

_Number: TypeAlias = tuple[str, int]  # the name of an error's class, and a number within that class, from 0

OnFailure: TypeAlias = Callable[[BaseException], object]
"""Called with the error, whose traceback leads from its task's first line to the line that raises."""

_NO_FAILURE = (StopIteration, StopAsyncIteration, GeneratorExit)  # normal ends of loops and coroutines
_LOOP = ControlledLoop._run_handles.__code__.co_filename


def reproduce(program: Program, schedule: Schedule, options: Options, on_failure: OnFailure | None = None) -> None:
    """Run `schedule` again and raise its failure; call `on_failure` at the moment of the failure."""
    with process_of(options) as around:
        if any(isinstance(each, Cancel) for each in schedule):
            around.ignore_unawaited()

        def once(failed: Callable[[ControlledLoop, BaseException], None] | None = None) -> Execution:
            around.refresh()
            with HelperThread(options.thread_limit) as helper:
                return execute(program, schedule, options, helper, failed=failed)

        run = once() if on_failure is None else _stopped_at_failure(once, on_failure, options)
    if run.error is not None:
        raise run.error


def _stopped_at_failure(once: Callable[..., Execution], on_failure: OnFailure, options: Options) -> Execution:
    with breakpoints_off():  # breakpoints would stop both runs before the moment
        with _Errors() as errors:
            run = once()
        if run.error is None:
            return run
        moment = _FailureBreakpoint(on_failure, errors.number_of(run.error), options)
        with _Errors(moment.on_raise):
            run = once(moment.is_over)
    if moment.outcome is not None:
        raise moment.outcome
    return run


class _FailureBreakpoint:
    """The moment of a failure: calls `on_failure` once, when the error is raised, at the latest at the end of the run.

    Attributes:
        outcome: the exception of `on_failure`, such as a debugger's on quit; it must not reach the program.
    """

    def __init__(self, on_failure: OnFailure, number: _Number | None, options: Options) -> None:
        self._on_failure: OnFailure | None = on_failure
        self._number = number
        self._is_project = options.is_project_file
        self.outcome: BaseException | None = None

    def on_raise(
        self, error: BaseException, number: _Number, traceback: TracebackType
    ) -> None:  # pragma: no cover - a tracer is not traced
        if number == self._number:
            self._look_at(error, traceback)

    def is_over(self, loop: ControlledLoop, error: BaseException) -> None:
        asyncio._set_running_loop(loop)
        try:
            self._look_at(error, error.__traceback__ or self._where_it_waits(loop))
        finally:
            asyncio._set_running_loop(None)

    def _look_at(self, error: BaseException, traceback: TracebackType | None) -> None:
        if self._on_failure is None:
            return
        on_failure, self._on_failure = self._on_failure, None
        old = error.__traceback__
        try:
            on_failure(error.with_traceback(traceback))
        except BaseException as outcome:
            self.outcome = outcome
        error.__traceback__ = old

    def _where_it_waits(self, loop: ControlledLoop) -> TracebackType | None:
        """Return the frames of the first suspended task, down to its innermost frame of project code."""
        frames: list[FrameType] = next(
            (list(await_chain(task.get_coro())) for task in loop.tasks if not task.done()), []
        )
        while len(frames) > 1 and not self._is_project[frames[-1].f_code.co_filename]:
            frames.pop()
        traceback = None
        for frame in reversed(frames):
            traceback = _before(frame, traceback)
        return traceback


class _Errors:
    """The errors raised by the program on an explored loop, numbered in order.

    Args:
        on_raise: called with each error as it is raised, its number, and a traceback from the task's first line.
    """

    def __init__(self, on_raise: Callable[[BaseException, _Number, TracebackType], None] | None = None) -> None:
        self._on_raise = on_raise
        self._errors: dict[str, list[BaseException]] = {}

    def __enter__(self) -> "_Errors":
        self._trace_before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._trace_before)

    def number_of(self, error: BaseException) -> _Number | None:
        """Return the number of `error`, or of the first error in a group; None if it was never raised."""
        for leaf in leaves(error):
            for number, each in enumerate(self._alike(leaf)):
                if each is leaf:
                    return type(leaf).__qualname__, number
        return None

    def _alike(self, error: BaseException) -> list[BaseException]:
        # By name, because each run may define the class anew.
        return self._errors.setdefault(type(error).__qualname__, [])

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:  # pragma: no cover - a tracer is not traced
        frame.f_trace_lines = False
        if event == "exception":
            _, error, traceback = argument
            if isinstance(error, BaseException) and not isinstance(error, _NO_FAILURE) and not self._knows(error):
                self._saw(error, frame, traceback)
        return self._trace

    def _knows(self, error: BaseException) -> bool:  # pragma: no cover - a tracer is not traced
        return any(each is error for each in self._alike(error))

    def _saw(
        self, error: BaseException, frame: FrameType, traceback: TracebackType
    ) -> None:  # pragma: no cover - a tracer is not traced
        before = frame.f_back
        while before is not None and before.f_code.co_filename != _LOOP:
            traceback = _before(before, traceback)
            before = before.f_back
        if before is not None and frame.f_code.co_filename != _LOOP:
            errors = self._alike(error)
            errors.append(error)
            if self._on_raise is not None:
                self._on_raise(error, (type(error).__qualname__, len(errors) - 1), traceback)


def _before(frame: FrameType, traceback: TracebackType | None) -> TracebackType:
    return TracebackType(traceback, frame, max(frame.f_lasti, 0), frame.f_lineno or frame.f_code.co_firstlineno)
