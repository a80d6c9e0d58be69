"""One run: a program under one schedule, from the first step to the cleanup."""

import inspect
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from .._introspect.garbage_collection import GarbageCollectionDisabled
from .._network.network import InProcessNetwork
from .._network.socket_methods import NetworkOnDemand
from .cleanup import leave_nothing
from .controlled_loop import ControlledLoop
from .failures import failure_of, is_timeout
from .helper_thread import HelperThread
from .network_host import network_of
from .options import Options
from .recording_loop import RecordingLoop
from .recording_network import RecordingNetwork
from .run import Program, Run
from .schedule import Deviation, Schedule
from .trace import Trace

Scenario: TypeAlias = Callable[[], Coroutine[Any, Any, object]]
"""An ``async def`` without arguments to explore. It is called anew for every run, outside any loop."""


class Execution(NamedTuple):
    """The result of one run.

    Attributes:
        schedule: the schedule that was run.
        trace: the trace.
        error: the failure; None if the run passed.
        is_cut: True if an external cancellation, or the timeout for a slow answer, ended the scenario; that is not a
            failure.
        unused: the deviations whose step never ran.
        is_lost: True if the failure is an exception that no task has retrieved, or a leak, and the program passed.
    """

    schedule: Schedule
    trace: Trace
    error: BaseException | None
    is_cut: bool
    unused: tuple[Deviation, ...]
    is_lost: bool = False

    @property
    def failure_signature(self) -> tuple[str, ...]:
        """The way in which the run failed; failures of one way are taken for the same bug. Empty if the run passed."""
        return () if self.error is None else tuple(sorted(type(leaf).__qualname__ for leaf in leaves(self.error)))


def execute(
    program: Program,
    schedule: Schedule,
    options: Options,
    helper: HelperThread,
    *,
    with_details: bool = False,
    failed: Callable[[ControlledLoop, BaseException], object] | None = None,
) -> Execution:
    """Run `program` under `schedule`.

    Args:
        program: the code to run.
        schedule: the deviations from asyncio's default order.
        options: see `Options`.
        helper: runs the functions that the program sends to threads.
        with_details: True to record everything that is needed to display the run.
        failed: called after a failure, before the cleanup.

    Raises:
        UncontrolledOperation: the program does something that no schedule can control.
        BaseException: the call of the scenario raises it, or it is an exception of the run that passes through.
    """
    run = Run(RecordingLoop if with_details else ControlledLoop, schedule, options, helper, failed)
    make_network = partial(network_of, run, helper, RecordingNetwork if with_details else InProcessNetwork)
    helper.foreign.begin()
    try:
        # Automatic collection would depend on earlier runs.
        with NetworkOnDemand(make_network) as networks, GarbageCollectionDisabled():
            found = program(run)
            for loop in run.loops:
                run.look_at_end(loop, found)  # some runners close it without a word
                run.check_threads(loop)
            if run.refusal is not None:
                raise run.refusal
            if run.stop is not None:
                run.stop.__traceback__ = None  # it was raised at no line of the program
            error = None if run.is_cut else found or run.stop or run.end
            if error is not None and all(map(options.propagate, leaves(error))):
                raise leaves(error)[0]
            if run.circle is not None and not run.is_cut:
                run.circle.__cause__, error = error, run.circle
            if error is not None and failed is not None and run.loop is not None:
                failed(run.loop, error)
            if error is not None and networks.refused:
                _note_refused(error, networks.refused)
            is_lost = error is not None and error is run.end
            return Execution(schedule, run.trace, error, run.is_cut, run.unused, is_lost)
    finally:
        for loop in run.loops:
            leave_nothing(loop)


def _note_refused(error: BaseException, refused: Iterable[str]) -> None:
    """Add to an error that a refused connection has led to that nothing in the test listens there."""
    seen: set[int] = set()
    causes = leaves(error)
    for cause in causes:
        if id(cause) not in seen:
            seen.add(id(cause))
            causes += [each for each in (cause.__cause__, cause.__context__) if each is not None]
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        for place in dict.fromkeys(refused):
            error.add_note(f"A connection was refused: nothing in the test listens at {place}.")


def playing(scenario: Scenario) -> Program:
    """Return the program that runs `scenario` on a loop of its own."""

    def play(run: Run) -> BaseException | None:
        coroutine = _coroutine(scenario)
        loop = run.new_loop()
        main = loop.play(coroutine)
        error = failure_of(loop, main, run.options)
        if main.done() and (loop.has_cancelled if main.cancelled() else loop.is_outlasted and is_timeout(error)):
            run.is_cut, error = True, None
        run.look_at_end(loop, error)
        return error

    return play


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
