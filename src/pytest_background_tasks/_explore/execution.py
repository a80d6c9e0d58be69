"""One run: a scenario under one schedule, from the first step to the cleanup.

Private names of CPython used here: ``_log_traceback`` of a task, ``_asyncgens`` and ``_ready`` of a loop.
"""

import inspect
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from .._asyncio.forced_end import cancel_surely, close, run_past_exits
from .._introspect.garbage_collection import GarbageCollectionDisabled
from .controlled_loop import ControlledLoop
from .failures import circle_of, failure_of
from .helper_thread import HelperThread
from .options import Options
from .recording_loop import RecordingLoop
from .schedule import Deviation, Schedule
from .trace import Trace

Scenario: TypeAlias = Callable[[], Coroutine[Any, Any, object]]
"""The code to explore: an ``async def`` without arguments. It is called anew for every run, outside any loop."""

_TURNS = 1000
"""The number of iterations in which cancelled tasks may clean up. After that, tasks that never end are closed."""


class Execution(NamedTuple):
    """The result of one run.

    Attributes:
        schedule: the schedule that was run.
        trace: the trace.
        error: the failure; None if the run passed.
        is_cut: True if an external cancellation ended the scenario; that is not a failure.
        unused: the deviations whose step never ran.
    """

    schedule: Schedule
    trace: Trace
    error: BaseException | None
    is_cut: bool
    unused: tuple[Deviation, ...]

    @property
    def failure_signature(self) -> tuple[str, ...]:
        """The way in which the run failed; failures of one way are taken for the same bug. Empty if the run passed."""
        return () if self.error is None else tuple(sorted(type(leaf).__qualname__ for leaf in leaves(self.error)))


def execute(
    scenario: Scenario,
    schedule: Schedule,
    options: Options,
    helper: HelperThread,
    *,
    with_details: bool = False,
    failed: Callable[[ControlledLoop, BaseException], object] | None = None,
) -> Execution:
    """Run `scenario` under `schedule`.

    Args:
        scenario: the code to run.
        schedule: the deviations from asyncio's default order.
        options: see `Options`.
        helper: runs the functions that the program sends to threads.
        with_details: True to record everything that is needed to display the run.
        failed: called after a failure, before the cleanup.

    Raises:
        UncontrolledOperation: the scenario does something that no schedule can control.
        BaseException: the call of the scenario raises it, or it is an exception of the run that passes through.
    """
    coroutine = _coroutine(scenario)
    loop = (RecordingLoop if with_details else ControlledLoop)(schedule, options, helper)
    try:
        with GarbageCollectionDisabled():  # automatic collection would depend on earlier runs
            main = loop.play(coroutine)
            loop.check_threads()
            is_cut = main.done() and main.cancelled() and loop.has_cancelled
            error = None if is_cut else failure_of(loop, main, options)
            if error is not None and all(map(options.propagate, leaves(error))):
                raise leaves(error)[0]
            if not is_cut:
                error = circle_of(loop, error, options) or error
            if error is not None and failed is not None:
                failed(loop, error)
            return Execution(schedule, loop.trace(), error, is_cut, loop.unused)
    finally:
        _leave_nothing(loop)


def _coroutine(scenario: Scenario) -> Coroutine[Any, Any, object]:
    coroutine = scenario()
    if not inspect.iscoroutine(coroutine):
        name = getattr(scenario, "__name__", repr(scenario))
        raise TypeError(
            f"a scenario must be an async def without arguments; {name}() returned {coroutine!r}\n"
            f"  write:  async def {name}(): ..."
        )
    return coroutine


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors in a group, including nested groups; for any other error, itself."""
    return (
        [leaf for inner in error.exceptions for leaf in leaves(inner)]
        if isinstance(error, BaseExceptionGroup)
        else [error]
    )


def _leave_nothing(loop: ControlledLoop) -> None:
    """Cancel and close everything that the run left behind, silently, like ``asyncio.run``."""
    is_over = not loop.has_generators
    for task in loop.tasks:
        is_over = is_over and task.done()
    try:
        if not is_over:
            loop.set_exception_handler(lambda *_: None)
            _clean_up(loop)
    finally:
        for task in loop.tasks:
            task._log_traceback = False
        loop.tasks.clear()
        loop.close()


def _clean_up(loop: ControlledLoop) -> None:
    """Cancel and close tasks and generators. No error propagates, since it would replace the failure of the run."""
    for task in list(loop.tasks):
        cancel_surely(task)
    _turn(loop)
    for generator in list(loop._asyncgens):  # type: ignore[attr-defined]
        with suppress(Exception):  # from a task factory of the program's own
            loop.create_task(generator.aclose())
    _turn(loop)
    for task in list(loop.tasks):
        if not task.done():
            close(task)


def _turn(loop: ControlledLoop) -> None:
    """Run the loop until all tasks have ended, at most ``_TURNS`` iterations."""
    turns = iter(range(_TURNS))

    def turn() -> None:
        loop.stop()
        with suppress(Exception):
            loop.run_forever()

    def is_over() -> bool:
        return (not loop._ready and all(task.done() for task in loop.tasks)) or next(turns, None) is None

    run_past_exits(turn, is_over, loop.tasks)
