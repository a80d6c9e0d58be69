"""The moment at which a run fails: where its error is raised, while the frames stand and the loop is running.

When a run has failed, that moment is over: what the error has passed through is unwound. But a schedule can be played
again. So it is played twice. In the first run every error that is raised is remembered, and at its end it is known
which of them it failed with: the third `AssertionError`, say. In the second, the third is looked at when it is raised.

A deadlock is raised nowhere. There the moment is the end, when nothing can go on, and the place is where the scenario
waits.

Private name of CPython used here: ``_set_running_loop`` of asyncio, which is meant for loops.
"""

import asyncio
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeAlias

from ..sites import await_chain
from .loop import PlayedLoop
from .options import Options
from .play import Run, Scenario, leaves, play
from .schedule import Cancel, Schedule
from .surroundings import Surroundings, breakpoints_off
from .threads import HelperThread

_Number: TypeAlias = tuple[str, int]  # the name of an error's class, and which error of that it is, from 0

Look: TypeAlias = Callable[[BaseException], object]
"""Called with the error, whose traceback leads from its task's first line to the line that raises."""

_NO_FAILURE = (StopIteration, StopAsyncIteration, GeneratorExit)  # each end of a loop or a coroutine is one
_LOOP = PlayedLoop.play.__code__.co_filename


def reproduce(scenario: Scenario, schedule: Schedule, options: Options, look: Look | None = None) -> None:
    """Play `schedule` again, and raise what it fails with; `look` at that at the moment of its failure."""
    with Surroundings(may_raise=bool(options.raises)) as around:
        if any(isinstance(each, Cancel) for each in schedule):
            around.silence()

        def once(failed: Callable[[PlayedLoop, BaseException], None] | None = None) -> Run:
            around.refresh()
            with HelperThread() as helper:
                return play(scenario, schedule, options, helper, failed=failed)

        run = once() if look is None else _looked_at(once, look, options)
    if run.error is not None:
        raise run.error


def _looked_at(once: Callable[..., Run], look: Look, options: Options) -> Run:
    with breakpoints_off():  # they would come before the moment, in either run
        with _Errors() as errors:
            run = once()
        if run.error is None:
            return run
        moment = _Moment(look, errors.number_of(run.error), options)
        with _Errors(moment.came_up):
            run = once(moment.is_over)
    if moment.outcome is not None:
        raise moment.outcome
    return run


class _Moment:
    """Looks when the failure's error comes up, but at the end of the run at the latest; once.

    Attributes:
        outcome: what looking has raised, as a debugger that is quit does; the program must not get that.
    """

    def __init__(self, look: Look, number: _Number | None, options: Options) -> None:
        self._look: Look | None = look
        self._number = number
        self._is_own = options.is_own
        self.outcome: BaseException | None = None

    def came_up(
        self, error: BaseException, number: _Number, traceback: TracebackType
    ) -> None:  # pragma: no cover - a tracer is not traced
        if number == self._number:
            self._look_at(error, traceback)

    def is_over(self, loop: PlayedLoop, error: BaseException) -> None:
        asyncio._set_running_loop(loop)
        try:
            self._look_at(error, error.__traceback__ or self._where_it_waits(loop))
        finally:
            asyncio._set_running_loop(None)

    def _look_at(self, error: BaseException, traceback: TracebackType | None) -> None:
        if self._look is None:
            return
        look, self._look = self._look, None
        old = error.__traceback__
        try:
            look(error.with_traceback(traceback))
        except BaseException as outcome:
            self.outcome = outcome
        error.__traceback__ = old

    def _where_it_waits(self, loop: PlayedLoop) -> TracebackType | None:
        """The frames of the first task that waits, up to the innermost of the project's own code."""
        frames: list[FrameType] = next(
            (list(await_chain(task.get_coro())) for task in loop.tasks if not task.done()), []
        )
        while len(frames) > 1 and not self._is_own[frames[-1].f_code.co_filename]:
            frames.pop()
        traceback = None
        for frame in reversed(frames):
            traceback = _before(frame, traceback)
        return traceback


class _Errors:
    """The errors that the program raises on a played loop, numbered as they come up.

    Args:
        came_up: told of each when it is raised: the error, its number, its traceback from the task's first line on.
    """

    def __init__(self, came_up: Callable[[BaseException, _Number, TracebackType], None] | None = None) -> None:
        self._came_up = came_up
        self._errors: dict[str, list[BaseException]] = {}

    def __enter__(self) -> "_Errors":
        self._trace_before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._trace_before)

    def number_of(self, error: BaseException) -> _Number | None:
        """Which error `error` was; of a group, its first part. None if it never was."""
        for leaf in leaves(error):
            for number, each in enumerate(self._alike(leaf)):
                if each is leaf:
                    return type(leaf).__qualname__, number
        return None

    def _alike(self, error: BaseException) -> list[BaseException]:
        # By name, for each run may define the class anew.
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
            if self._came_up is not None:
                self._came_up(error, (type(error).__qualname__, len(errors) - 1), traceback)


def _before(frame: FrameType, traceback: TracebackType | None) -> TracebackType:
    return TracebackType(traceback, frame, max(frame.f_lasti, 0), frame.f_lineno or frame.f_code.co_firstlineno)
