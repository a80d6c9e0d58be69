"""The explorer: runs schedules until one fails, none is left, or the budget runs out."""

import asyncio
import inspect
import math
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Unpack

from .. import real_time
from ..errors import ExplorationError, NonDeterministicTest, ReplayError, UncontrolledOperation
from . import debug
from .counting import counting_between, counting_in
from .diagnostics import difference, nothing_to_cancel, nothing_to_deviate
from .exploration import Exploration, Failure, Found, Verdict
from .minimise import minimised
from .moment import reproduce
from .options import ExplorerArguments, Options
from .play import Run, Scenario, play
from .schedule import Cancel, Outlast, Raise, Schedule, canonical
from .search import Search
from .sources import Sources, told
from .surroundings import Surroundings, breakpoints_off
from .threads import HelperThread
from .trace import Trace, first_difference


class Explorer:
    """The engine of ``@explore``: runs a scenario in the orders that asyncio could have produced.

    Orders closest to asyncio's default order come first. Use this if a decorator does not fit: in a Hypothesis test, a
    method of a `unittest.TestCase`, a script. It cannot explore while an event loop is running in the same thread.

    Args:
        max_schedules: the largest number of schedules to run.
        max_deviations: the largest number of deviations in a schedule.
        max_seconds: the time limit, in seconds of real time; None for no limit.
        max_steps: the number of steps after which a run counts as a livelock.
        arrivals: the kinds of arrival that may be delayed: ``start``, ``yield``, ``sleep``, ``timer``, ``thread``,
            ``mock`` (default: all of these), or ``any``: every step of every task, for code that must not rely on
            asyncio's order at all.
        cancel: the tasks to cancel externally, one cancellation per schedule: True for those that the scenario starts,
            or patterns (``client*``) and coroutine functions.
        raises: the exceptions to inject, classes or instances: what a task waits for fails with one of them.
        slow: True if answers may outlast the next timer.
        samples: the number of random walks after all schedules with up to ``max_deviations`` deviations.
        seed: decides the order of the search.
        replay: a schedule, or its text: run only this schedule.
        first: schedules that failed before, to be tried right after the default order. Those that pass now, or can no
            longer be replayed, do not count as runs.
        leaks: True if tasks pending at the end are a failure.
        must_cancel: True if it is an error that ``cancel`` finds no task; otherwise the verdict excludes cancellations.
        passes_through: exceptions that are not failures: they end the exploration and propagate. Classes, or a
            function that returns True for them.
        is_own: maps file names to True for project code; default: all files under the current directory. The
            scenario's own file is always project code.

    Raises:
        TypeError, ValueError: an option is invalid; the message says what to write.

    >>> import asyncio
    >>> async def shop():
    ...     stock = {"apples": 2}
    ...     async def sell():
    ...         left = stock["apples"]
    ...         await asyncio.sleep(0)  # stands for I/O
    ...         stock["apples"] = left - 1
    ...     async def look_and_sell():
    ...         await asyncio.sleep(0)
    ...         await sell()
    ...     await asyncio.gather(sell(), look_and_sell())
    ...     assert stock["apples"] == 0
    >>> exploration = Explorer().explore(shop)
    >>> exploration.verdict, str(exploration.failure.schedule)
    ('failed', 'sell@1+1')
    """

    def __init__(self, **options: Unpack[ExplorerArguments]) -> None:
        self._options = Options.of(options)

    def explore(self, scenario: Scenario) -> Exploration:
        """Explore `scenario`, an ``async def`` without arguments, which is called anew for every run.

        Returns:
            The result; see its ``verdict`` and ``failure``. The last run is the failing one. A note of
            ``failure.error`` says how the failure came about and how to replay it.

        Raises:
            NonDeterministicTest: two runs of the same schedule differ.
            UncontrolledOperation: the scenario uses something that no schedule can control.
            ReplayError: the schedule to replay names a task or step that does not exist.
            ExplorationError: ``cancel`` finds no task and must, an event loop is running, or nest_asyncio has been
                applied.
        """
        exploration = explored(scenario, self._options)
        if exploration.failure is None:
            return exploration
        return replace(exploration, failure=replace(exploration.failure, _tell=partial(_note, exploration)))


def explored(scenario: Scenario, options: Options) -> Exploration:
    """Explore `scenario` like `Explorer.explore`, for a caller that reports a failure itself."""
    if asyncio._get_running_loop() is not None:
        raise ExplorationError(
            "cannot explore while an event loop is running in this thread\n"
            "In an async test: make the test a plain def. Elsewhere: explore in another thread, "
            "await asyncio.to_thread(Explorer().explore, scenario)"
        )
    if hasattr(asyncio, "_nest_patched"):
        raise ExplorationError(
            "cannot explore after nest_asyncio.apply(): the order of its tasks cannot be controlled\n"
            "Do not call it in a session that explores. If other tests need it, run explored tests separately: "
            "pytest -m explore"
        )
    code = getattr(inspect.unwrap(scenario), "__code__", None)
    if code is not None and isinstance(options.is_project_file, dict):
        options.is_project_file[code.co_filename] = True  # a scenario is project code, wherever its file is
    with HelperThread() as helper, Surroundings(may_raise=bool(options.inject_errors)) as around:
        try:
            return _Session(scenario, options, helper, around).explore()
        except (NonDeterministicTest, UncontrolledOperation) as error:
            for sentence in around.missing:
                error.add_note(sentence)
            raise


def _note(exploration: Exploration) -> str:
    from ..report.section import section
    from ..report.text import plain

    assert exploration.failure is not None
    replay = f"Explorer(replay={str(exploration.failure.schedule)!r}), with the other options unchanged"
    return plain(section(exploration, replay, _WIDTH))


_WIDTH = 80  # columns of a note: the width of the reader's display is unknown


class _Session:
    """One exploration of one scenario."""

    def __init__(self, scenario: Scenario, options: Options, helper: HelperThread, around: Surroundings) -> None:
        self._scenario = scenario
        self._options = options = _beginning_now(options)
        self._helper = helper
        self._around = around
        self._seed = 0 if options.seed is None else options.seed
        self._search = Search(options, self._seed)
        self._began = real_time.monotonic()
        self._runs = self._cut = 0
        self._may_cancel = False
        self._passing: list[Schedule] = []

    def explore(self) -> Exploration:
        replay = self._options.replay
        if replay is not None:
            self._options = self._options.with_counting(counting_in(replay))
            return self._replay(replay)
        while (schedule := self._next()) is not None:
            run = self._play(schedule)
            self._count(run)
            if run.error is not None:
                return self._failed(run)
            if not schedule:
                if not self._check_deterministic(run):
                    continue
                if (again := self._failing_again()) is not None:
                    return self._failed(again, "previous")
        self._check_cancel_matches()
        return self._result(self._verdict())

    def _next(self) -> Schedule | None:
        seconds = self._options.max_seconds
        if self._runs >= self._options.max_schedules or (seconds and real_time.monotonic() - self._began >= seconds):
            return None
        return self._search.next()

    def _play(self, schedule: Schedule, *, tells: bool = False) -> Run:
        if Cancel in map(type, schedule):
            self._around.silence()
        self._around.refresh()
        run = play(self._scenario, schedule, self._options, self._helper, tells=tells)
        if self._helper.foreign.answer is not None:
            raise self._helper.foreign.answer
        return run

    def _count(self, run: Run) -> None:
        self._runs += 1
        self._cut += run.is_cut
        self._may_cancel = self._may_cancel or bool(run.trace.cancellable)
        self._search.saw(Schedule(run.schedule - set(run.unused)) if run.unused else run.schedule, run.trace)

    def _verdict(self) -> Verdict:
        if self._search.is_complete:
            return "exhaustive"
        return "bounded" if self._search.is_bounded else "incomplete"

    def _result(self, verdict: Verdict, failure: Failure | None = None) -> Exploration:
        self._helper.foreign.check(failed=failure is not None)
        search = self._search
        # The current number of deviations is not finished.
        deviations = search.deviations if search.is_bounded else max(search.deviations - 1, 0)
        seconds = real_time.monotonic() - self._began
        return Exploration(
            verdict,
            self._runs,
            search.distinct,
            self._cut,
            deviations,
            seconds,
            self._seed,
            failure,
            self._options.faults(may_cancel=self._may_cancel),
            tuple(self._passing),
        )

    # Failures.

    def _failing_again(self) -> Run | None:
        """Return the first run of a schedule in ``first`` that still fails, else None."""
        for schedule in self._options.previous_failures:
            with suppress(ReplayError):  # it raises an error that is no longer in inject_errors=
                run = self._play(schedule)
                if run.unused or run.is_cut or not self._may_be(run):
                    continue
                if run.error is not None:
                    self._runs += 1
                    return run
                self._passing.append(run.schedule)
        return None

    def _may_be(self, run: Run) -> bool:
        """Return True if the options still ask for all faults of the schedule."""
        return all(
            canonical(each.task) in run.trace.cancellable if isinstance(each, Cancel) else self._options.slow_results
            for each in run.schedule
            if isinstance(each, (Cancel, Outlast))
        )

    def _failed(self, found: Run, how: Found = "search") -> Exploration:
        def fails(schedule: Schedule) -> bool:
            return self._play(schedule).way == found.way

        schedule = minimised(found.schedule, fails)
        usual = self._play(Schedule(), tells=True) if schedule else None
        confirmed = self._play(schedule, tells=True)  # the last run: the report shows its output
        if confirmed.error is None or confirmed.way != found.way:
            raise self._not_deterministic(found, confirmed, "the failing run and its confirmation")
        return self._result("failed", self._failure(confirmed, usual or confirmed, how))

    def _failure(self, run: Run, usual: Run, how: Found) -> Failure:
        assert run.error is not None
        touched = {(canonical(each.task), each.step) for each in run.schedule}
        kinds = {step.kind for step in run.trace.steps if step.kind and (step.task, step.number) in touched}

        again = partial(reproduce, self._scenario, run.schedule, self._options)
        schedule = _shown(run.schedule, run.trace)
        arrivals = self._options.arrivals
        return Failure(run.error, schedule, run.trace, usual.trace, frozenset(kinds), arrivals, self._runs, how, again)

    def _replay(self, schedule: Schedule) -> Exploration:
        """Run the default order with breakpoints disabled, then `schedule` once, with breakpoints."""
        for each in schedule:
            if isinstance(each, Raise):
                self._options.error(each.error)  # raises here, not inside the loop, if it is not in inject_errors=
        with breakpoints_off() if schedule else nullcontext():
            usual = self._play(Schedule(), tells=True)
        run = usual if usual.error is not None or not schedule else self._play(schedule, tells=True)
        if run.unused:
            raise nothing_to_deviate(run)
        self._count(run)
        if run.error is not None:
            return self._result("failed", self._failure(run, usual, "replay"))
        self._passing.append(run.schedule)
        return self._result("replayed")

    # Tests that cannot be explored.

    def _check_deterministic(self, first: Run) -> bool:
        """Return True if runs of the empty schedule are equal; return False to begin anew without numbers in names."""
        second, third = self._play(Schedule()), self._play(Schedule())
        if not _are_equal(second, third):
            if forms := counting_between(second.trace, third.trace) - self._options.counting.forms:
                self._options = self._options.with_counting(forms)
                self._search = Search(self._options, self._seed)
                self._runs = self._cut = 0
                return False
            raise self._not_deterministic(second, third, "two runs of the same schedule")
        if not _are_equal(first, second):
            raise self._not_deterministic(
                first,
                second,
                "the first run and the next",
                "The first run probably changed state outside the test, such as a cache\n",
            )
        return True

    def _not_deterministic(self, first: Run, second: Run, which: str, hint: str = "") -> NonDeterministicTest:
        # The error to report exists already.
        with suppress(Exception), Sources(self._options.is_project_file) as sources:
            self._play(first.schedule)
        return NonDeterministicTest(difference(first, second, which, hint + told(sources.found)))

    def _check_cancel_matches(self) -> None:
        targets = self._options.cancel
        if targets is False or self._may_cancel or not self._options.require_cancel:
            return
        raise nothing_to_cancel(targets, None if targets is True else self._play(Schedule()).trace)


def _beginning_now(options: Options) -> Options:
    # The clock of asyncio's own loops is monotonic time.
    return options.beginning(float(math.ceil(real_time.monotonic())), is_debug=debug.is_asked_for())


def _are_equal(run: Run, other: Run) -> bool:
    return first_difference(run.trace, other.trace) is None and run.way == other.way


def _shown(schedule: Schedule, trace: Trace) -> Schedule:
    """Return the schedule with names as `trace` displays them."""
    return Schedule(replace(each, task=trace.display_name(canonical(each.task))) for each in schedule)
