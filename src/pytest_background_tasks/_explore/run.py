"""One run of a program: the loops that it creates, and the moments at which its test begins and ends.

A runner makes several calls of ``run_until_complete`` of a test: for each async fixture, for the test, for each
teardown, and to close the loop. All of them run on one `ControlledLoop`, which the runner gets where it would create a
loop of its own. Only the test and its teardown deviate from asyncio's default order.

Private names of CPython used here: ``_event_loop_policy`` of asyncio.events, since setting a policy is deprecated.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import CodeType
from typing import Any, TypeAlias

from .._asyncio.instrument import Instrument
from .._introspect.untrusted import code_of_function
from ..errors import UncontrolledOperation
from .cleanup import clean_up
from .controlled_loop import ControlledLoop
from .failures import circle_of, is_timeout, leak_of, stop_of, unnoticed_of
from .helper_thread import HelperThread
from .options import Options
from .schedule import Deviation, Schedule
from .task_names import Phase
from .trace import SETUP, TEARDOWN, Outcome, Trace

_events: Any = asyncio.events
_PolicyBase: Any = getattr(_events, "_BaseDefaultEventLoopPolicy", None) or _events.BaseDefaultEventLoopPolicy


class EndsOfLoops(Instrument):
    """The ends of controlled loops: a runner cancels the remaining tasks, and closes the loop."""

    def cancelling_all_tasks(self, loop: Any) -> None:
        """Let the run of `loop` look at the tasks that remain."""
        if isinstance(loop, ControlledLoop) and loop.owner is not None:
            loop.owner.cancel_all_tasks(loop)


class Run:
    """One run.

    Args:
        loop_class: the class of its loops.
        schedule: the deviations from asyncio's default order.
        options: the options of the exploration.
        helper: runs the functions that the program sends to threads.
        failed: called when a loop stops although what it runs is not done, while all tasks are still there.

    Attributes:
        loops: the loops of this run, in the order in which they were created.
        stop: the first error of a loop that stopped although what it ran was not done.
        end: the first exception that no task had retrieved, or the leak, when the loop was about to be closed.
        circle: the deadlock of tasks that wait for each other at that moment, so that they cannot even be cancelled.
        is_cut: True if an external cancellation, or the timeout for a slow answer, ended the test.
        unused: the deviations whose step never ran.
        thread: the identifier of the thread of the run.
        policy: the policy that creates the loops; None before `replacing_policy`.
        refusal: the error that the run does something that no schedule can control.
    """

    def __init__(
        self,
        loop_class: type[ControlledLoop],
        schedule: Schedule,
        options: Options,
        helper: HelperThread,
        failed: Callable[[ControlledLoop, BaseException], object] | None = None,
    ) -> None:
        self._loop_class = loop_class
        self.schedule: Schedule = schedule
        self.options: Options = options
        self._helper = helper
        self._failed = failed
        self._phase: Phase = Phase(SETUP)
        self._main: ControlledLoop | None = None
        self._trace: Trace | None = None
        self._loops_wanted: float = 0
        self.thread: int = threading.get_ident()
        self._ended: list[ControlledLoop] = []
        self.loops: list[ControlledLoop] = []
        self.stop: BaseException | None = None
        self.end: BaseException | None = None
        self.circle: BaseException | None = None
        self.is_cut: bool = False
        self.unused: tuple[Deviation, ...] = tuple(schedule)
        self.policy: Any = None
        self.refusal: UncontrolledOperation | None = None

    def new_loop(self) -> ControlledLoop:
        """Return a new loop of this run."""
        loop = self._loop_class(self.schedule, self.options, self._helper)
        loop.enter(self._phase)
        loop.owner = self
        self.loops.append(loop)
        return loop

    @property
    def loop(self) -> ControlledLoop | None:
        """The loop of the test; until it begins, the first loop."""
        return self._main or next(iter(self.loops), None)

    @property
    def trace(self) -> Trace:
        """The trace of `loop`, up to the moment at which its runner closed it."""
        loop = self.loop
        return self._trace or (Trace(()) if loop is None else loop.trace())

    # Phases. All these methods are called while no loop is running, except by the test itself.

    @contextmanager
    def named(self, label: str) -> Iterator[None]:
        """Name the tasks that a runner creates inside the block after a fixture."""
        before = self._phase.label
        self._phase.label = label
        try:
            yield
        finally:
            self._phase.label = before

    def name_next(self, label: str) -> None:
        """Name the tasks that a runner creates from now on after a fixture."""
        self._phase.label = label

    def as_main(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """Return a coroutine function that runs `test`, and marks the beginning and the end of it."""

        async def main(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            loop, outcome = self._begin(code), Outcome("returned")
            try:
                return await test(*args, **kwargs)
            except asyncio.CancelledError:
                outcome = Outcome("cancelled")
                if self.stop is not None or not loop.has_cancelled:
                    raise
                self.is_cut = True  # the runner continues as if the test had passed
            except BaseException as error:
                outcome = Outcome("raised", type(error).__qualname__)
                if not (loop.is_outlasted and is_timeout(error)):
                    raise
                self.is_cut = True
            finally:
                self._finish(loop, outcome)

        code = code_of_function(test)
        self._phase.code_of_main = main.__code__
        return wraps(test)(main)

    def _begin(self, code: CodeType | None) -> ControlledLoop:
        __tracebackhide__ = True
        loop: Any = asyncio.get_running_loop()
        if loop not in self.loops:
            kind = type(loop)
            text = (
                f"the test runs on another event loop, {kind.__module__}.{kind.__qualname__}, which an exploration "
                f"cannot control\nUse asyncio's default event loop for this test, or do not explore it"
            )
            self.refusal = UncontrolledOperation(text, "loop")
            raise UncontrolledOperation(text, "loop")
        self._helper.foreign.begin()  # threads that fixtures have started are there before the test
        self._main = loop
        loop.begin_main(code)
        return self._main

    def _finish(self, loop: ControlledLoop, outcome: Outcome) -> None:
        if not loop.is_closed():
            loop.end_main(outcome)
        self._phase = Phase(TEARDOWN)
        for each in self.loops:
            each.phase = self._phase  # the running loop enters it when it stops
            if each is not loop:
                each.enter(self._phase)

    def explain_stop(self, loop: ControlledLoop) -> BaseException:
        """Return the error for a loop that has stopped although what it runs is not done."""
        self.check_threads(loop)
        error = stop_of(loop, self.options) or RuntimeError("Event loop stopped before Future completed.")
        loop.extra_steps = _STEPS_OF_CLEANUP
        if self.stop is None and not self.is_cut:
            self.stop = error
            if self._failed is not None:
                self._failed(loop, error)
        return error

    # The loops that a runner creates.

    @contextmanager
    def controlling_loops(self, number: float = float("inf")) -> Iterator[None]:
        """Control the next loops that this thread creates inside the block, at most `number` of them."""
        before, self._loops_wanted = self._loops_wanted, number
        try:
            yield
        finally:
            self._loops_wanted = before

    @contextmanager
    def replacing_policy(self) -> Iterator[None]:
        """Replace asyncio's policy, which creates loops, inside the block."""
        before = _events._event_loop_policy
        self.policy = _events._event_loop_policy = _Policy(self, before)
        try:
            yield
        finally:
            _events._event_loop_policy = before

    def wants_loop(self) -> bool:
        """Return True if the loop that this thread creates is to be controlled. Counts it."""
        if self._loops_wanted <= 0 or threading.get_ident() != self.thread:
            return False
        self._loops_wanted -= 1
        return True

    # The end.

    def cancel_all_tasks(self, loop: ControlledLoop) -> None:
        """Look at the tasks that remain, before a runner cancels them; cancel those that asyncio cannot."""
        self.look_at_end(loop)
        if self.circle is not None:  # asyncio's own way ends in a RecursionError
            clean_up(loop)

    def check_threads(self, loop: ControlledLoop) -> None:
        """Note that the run cannot be controlled, while the tasks that wait for a thread are still there."""
        if self.refusal is None:
            try:
                loop.check_threads()
            except UncontrolledOperation as refusal:
                self.refusal = refusal

    def look_at_end(self, loop: ControlledLoop, found: BaseException | None = None) -> None:
        """Note unretrieved exceptions, leaks and circles on `loop`; follow asyncio's default order from now on.

        `found`: the failure of the run so far.
        """
        if loop in self._ended:
            return
        self._ended.append(loop)
        self.check_threads(loop)
        if found is None and self.end is None:
            leak = leak_of(loop, self.options) if self.options.fail_on_leaks else None
            self.end = unnoticed_of(loop) or leak
        self.circle = self.circle or circle_of(loop, found, self.options)
        if loop is self.loop:
            self._trace, self.unused = loop.trace(), loop.unused
        loop.follow_default_order()


_STEPS_OF_CLEANUP = 1000  # number of steps of a loop, after a livelock, in which fixtures may be torn down


class _Policy(_PolicyBase):  # type: ignore[misc]  # its name depends on the version
    """asyncio's policy during a run: it creates the loops of runners, and leaves all others to the policy before."""

    def __init__(self, run: Run, before: Any) -> None:
        super().__init__()
        self._run = run
        self._before = before

    def new_event_loop(self) -> Any:
        """Return a controlled loop, if a runner is about to run a fixture or the test."""
        return self._run.new_loop() if self._run.wants_loop() else self._ask("new_event_loop")

    def get_child_watcher(self) -> Any:
        """Return the child watcher, up to Python 3.13."""
        return self._ask("get_child_watcher")

    def _ask(self, name: str) -> Any:
        _events._event_loop_policy = self._before
        try:
            answer = getattr(_events, name)()
            self._before = _events._event_loop_policy
            return answer
        finally:
            _events._event_loop_policy = self


Program: TypeAlias = Callable[[Run], BaseException | None]
"""The code to explore: it runs once in each `Run`, and returns its failure or None."""
