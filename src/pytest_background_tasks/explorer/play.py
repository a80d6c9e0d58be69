"""One run: a scenario under one schedule, from its start until nothing of it is left.

Private names of CPython used here: ``_log_traceback`` of a task, ``_asyncgens`` and ``_ready`` of a loop.
"""

import inspect
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from ..collector import CollectorPaused
from ..ending import cancel_surely, close, run_past_exits
from .failures import circle_of, failure_of
from .loop import PlayedLoop
from .options import Options
from .schedule import Deviation, Schedule
from .telling import TellingLoop
from .threads import HelperThread
from .trace import Trace

Scenario: TypeAlias = Callable[[], Coroutine[Any, Any, object]]
"""What is explored: an ``async def`` without arguments. It is called anew for every run, outside any loop."""

_TURNS = 1000
"""How many iterations a cancelled task gets to clean up. A loop that never ends is closed where it is then."""


class Run(NamedTuple):
    """What came of one run.

    Attributes:
        schedule: what was played.
        trace: what happened.
        error: how it failed; None if it did not.
        is_cut: a cancellation from outside ended the scenario; that is no failure.
        unused: the deviations whose step never came.
    """

    schedule: Schedule
    trace: Trace
    error: BaseException | None
    is_cut: bool
    unused: tuple[Deviation, ...]

    @property
    def way(self) -> tuple[str, ...]:
        """In which way it failed; two failures of one way are one bug, as far as one can tell. Empty: not at all."""
        return () if self.error is None else tuple(sorted(type(leaf).__qualname__ for leaf in leaves(self.error)))


def play(
    scenario: Scenario,
    schedule: Schedule,
    options: Options,
    helper: HelperThread,
    *,
    tells: bool = False,
    failed: Callable[[PlayedLoop, BaseException], object] | None = None,
) -> Run:
    """Play `schedule`.

    Args:
        scenario: what is to run.
        schedule: what differs from asyncio's own order.
        options: see `Options`.
        helper: runs what is sent to threads.
        tells: whether to record what is only needed to show the run.
        failed: called if it fails, before anything of it is cleaned up.

    Raises:
        NotPlayable: the scenario does what no schedule can order.
        BaseException: whatever calling the scenario raises, and those exceptions of the run that are to pass through.
    """
    coroutine = _coroutine(scenario)
    loop = (TellingLoop if tells else PlayedLoop)(schedule, options, helper)
    try:
        with CollectorPaused():  # when it comes by depends on the runs before
            main = loop.play(coroutine)
            loop.check_threads()
            is_cut = main.done() and main.cancelled() and loop.has_cancelled
            error = None if is_cut else failure_of(loop, main, options)
            if error is not None and all(map(options.passes_through, leaves(error))):
                raise leaves(error)[0]
            if not is_cut:
                error = circle_of(loop, error, options) or error
            if error is not None and failed is not None:
                failed(loop, error)
            return Run(schedule, loop.trace(), error, is_cut, loop.unused)
    finally:
        _leave_nothing(loop)


def _coroutine(scenario: Scenario) -> Coroutine[Any, Any, object]:
    coroutine = scenario()
    if not inspect.iscoroutine(coroutine):
        name = getattr(scenario, "__name__", repr(scenario))
        raise TypeError(
            f"a scenario is an async def without arguments; {name}() gave {coroutine!r}\n"
            f"  write:  async def {name}(): ..."
        )
    return coroutine


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group, and in the groups in it; of what is no group, itself."""
    return (
        [leaf for inner in error.exceptions for leaf in leaves(inner)]
        if isinstance(error, BaseExceptionGroup)
        else [error]
    )


def _leave_nothing(loop: PlayedLoop) -> None:
    """End what the run has left over, as ``asyncio.run`` does, and without a word."""
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


def _clean_up(loop: PlayedLoop) -> None:
    """End them. Nothing that they do may raise here: it would stand in the place of what the run has found."""
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


def _turn(loop: PlayedLoop) -> None:
    """Let a number of iterations pass, or as many as are needed until all tasks have ended."""
    turns = iter(range(_TURNS))

    def turn() -> None:
        loop.stop()
        with suppress(Exception):
            loop.run_forever()

    def is_over() -> bool:
        return (not loop._ready and all(task.done() for task in loop.tasks)) or next(turns, None) is None

    run_past_exits(turn, is_over, loop.tasks)
