"""An exploration: runs schedules until one fails, none is left, or the budget runs out."""

import asyncio
import math
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from .._introspect import real_clock
from .._introspect.text import plural
from ..errors import ExplorationError, NonDeterministicTest, ReplayError, UncontrolledOperation
from . import debug_mode
from .determinism import DeterministicProcess, breakpoints_off, process_of
from .diagnostics import difference, nothing_to_cancel, nothing_to_deviate
from .execution import Execution, execute
from .failure_point import reproduce
from .helper_thread import HelperThread
from .interrupts import Interrupts
from .name_patterns import patterns_between, patterns_in
from .not_varied import Circumstances, injected, not_varied
from .options import Options
from .result import Exploration, Failure, Found, Verdict
from .run import Program
from .schedule import Cancel, NetworkFault, Raise, Schedule, Slow, canonical
from .search import Search
from .shrink import shrink
from .trace import Trace, first_difference
from .varying_reads import VaryingReads, sentence

OnRun: TypeAlias = Callable[[int], object]
"""Is called after each run, with the number of schedules that were run."""


def explored(program: Program, options: Options, on_run: OnRun = int) -> Exploration:
    """Explore `program` like `Explorer.explore`; the caller reports a failure.

    Raises:
        KeyboardInterrupt: its message says how far the exploration had got; its attribute ``failing`` is the text of a
            schedule that fails, or None.
    """
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
    with HelperThread(options.thread_limit) as helper, process_of(options) as around, Interrupts() as interrupts:
        try:
            session = _Session(program, options, helper, around, interrupts, on_run)
            try:
                return session.explore()
            except KeyboardInterrupt as interrupt:
                session.describe(interrupt)
                raise
        except (NonDeterministicTest, UncontrolledOperation) as error:
            for sentence in around.missing:
                error.add_note(sentence)
            raise


class _Session:
    """One exploration of one program."""

    def __init__(
        self,
        program: Program,
        options: Options,
        helper: HelperThread,
        around: DeterministicProcess,
        interrupts: Interrupts,
        on_run: OnRun,
    ) -> None:
        self._program = program
        self._interrupts = interrupts
        self._on_run = on_run
        self._running = Schedule()
        self._failing: Execution | None
        self._lost: set[tuple[str, ...]] = set()
        self._options = options = _beginning_now(options)
        self._helper = helper
        self._around = around
        self._seed = 0 if options.seed is None else options.seed
        self._began = real_clock.monotonic()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._search = Search(self._options, self._seed)
        self._runs = self._cut = 0
        self._may_cancel = False
        self._failing = None
        self._passing: list[Schedule] = []
        self._accepted: list[Schedule] = []

    def explore(self) -> Exploration:
        """Explore; begin anew with the same random numbers in each run if it turns out that they matter."""
        with suppress(_RandomNumbersMatter):
            return self._explore()
        self._options = self._options.depending_on_random()
        self._around.randomness.is_same = True
        self._begin_anew()
        return self._explore()

    def _explore(self) -> Exploration:
        replay = self._options.replay
        if replay is not None:
            self._options = self._options.with_counting(patterns_in(replay))
            return self._replay(replay)
        while (schedule := self._next()) is not None:
            run = self._play(schedule)
            self._count(run)
            if run.error is not None:
                exploration = self._failed(run)
                if not self._accepts(exploration):
                    return exploration
                self._failing = None
            if not schedule:
                if self._options.is_suite and self._search.has_one_order:
                    return self._result("exhaustive")
                if not self._check_deterministic(run):
                    continue
                if (again := self._failing_again()) is not None:
                    return self._failed(again, "previous")
                self._look_at_accepted()
        self._check_cancel_matches()
        return self._result(self._verdict())

    def _next(self) -> Schedule | None:
        seconds = self._options.max_seconds
        if self._runs >= self._options.max_schedules or (seconds and real_clock.monotonic() - self._began >= seconds):
            return None
        return self._search.next()

    def _play(self, schedule: Schedule, *, with_details: bool = False) -> Execution:
        """Run `schedule`. A failure counts only if it does not depend on a pause that was prolonged."""
        run = self._play_once(schedule, self._options, with_details=with_details)
        if run.error is not None and schedule and self._options.holds_pauses:
            run = self._play_once(schedule, self._options.without_holding(), with_details=with_details)
        return run

    def _play_once(self, schedule: Schedule, options: Options, *, with_details: bool) -> Execution:
        if Cancel in map(type, schedule):
            self._around.ignore_unawaited()
        self._around.refresh()
        self._running = schedule
        run = execute(self._program, schedule, options, self._helper, with_details=with_details)
        self._interrupts.check()
        if options.is_suite and run.is_lost:
            if not schedule:
                self._lost.add(run.failure_signature)
            if run.failure_signature in self._lost:
                run = run._replace(error=None, is_lost=False)
        if self._helper.foreign.answer is not None:
            raise self._helper.foreign.answer
        return run

    def _count(self, run: Execution) -> None:
        self._runs += 1
        self._cut += run.is_cut
        self._on_run(self._runs)
        self._may_cancel = self._may_cancel or bool(run.trace.cancellable)
        self._search.observe(Schedule(run.schedule - set(run.unused)) if run.unused else run.schedule, run.trace)

    @property
    def _circumstances(self) -> Circumstances:
        first = self._search.first
        return Circumstances(self._may_cancel, first is not None and any(row[4] == "network" for row in first.rows))

    def _verdict(self) -> Verdict:
        if self._search.is_complete:
            return "exhaustive"
        return "bounded" if self._search.is_bounded else "incomplete"

    def _result(self, verdict: Verdict, failure: Failure | None = None) -> Exploration:
        self._helper.foreign.check(failed=failure is not None)
        search = self._search
        # The current number of deviations is not finished.
        deviations = search.deviations if search.is_bounded else max(search.deviations - 1, 0)
        seconds = real_clock.monotonic() - self._began
        circumstances = self._circumstances
        return Exploration(
            verdict,
            self._runs,
            search.distinct,
            self._cut,
            deviations,
            seconds,
            self._seed,
            failure,
            tuple(each.included for each in injected(self._options, circumstances)),
            tuple(each.name for each in not_varied(self._options, circumstances)),
            tuple(self._passing),
            tuple(self._accepted),
            self._options.depends_on_random,
        )

    # Failures.

    def _failing_again(self) -> Execution | None:
        """Return the first run of a schedule in ``first`` that still fails, else None."""
        for schedule in self._options.previous_failures:
            if schedule in self._options.accepted:
                continue
            with suppress(ReplayError):  # it raises an error that is no longer in faults=
                run = self._play(schedule)
                self._check_random_numbers(run)
                if run.unused or run.is_cut or not self._may_be(run):
                    continue
                if run.error is not None:
                    self._runs += 1
                    return run
                self._passing.append(run.schedule)
        return None

    def _look_at_accepted(self) -> None:
        """Run the accepted schedules: those that no longer fail need not be accepted any more."""
        for schedule in self._options.accepted:
            with suppress(ReplayError):
                run = self._play(schedule)
                self._check_random_numbers(run)
                if run.error is not None:
                    self._accepted.append(schedule)
                    continue
            self._passing.append(schedule)

    def _accepts(self, exploration: Exploration) -> bool:
        failure = exploration.failure
        return failure is not None and bool(failure.schedule) and failure.schedule in self._options.accepted

    def _may_be(self, run: Execution) -> bool:
        """Return True if the options still ask for all faults of the schedule."""
        kinds = {(step.task, step.number): step.kind for _, step in run.trace.arrivals()}
        for each in run.schedule:
            if isinstance(each, Cancel):
                is_asked = canonical(each.task) in run.trace.cancellable
            elif isinstance(each, Slow):
                is_asked = kinds.get((canonical(each.task), each.step)) in self._options.slow_kinds
            else:
                is_asked = not isinstance(each, NetworkFault) or each.fault in self._options.faults.network
            if not is_asked:
                return False
        return True

    def describe(self, interrupt: KeyboardInterrupt) -> None:
        """Let the message of a Ctrl-C say how far the exploration had got; keep a failing schedule."""
        running = str(self._running) or "asyncio's default order"
        failing, told = None, f"none failed; running: {running}"
        if (found := self._failing) is not None:
            failing = str(_shown(found.schedule, found.trace))
            told = f"{failing or running} fails and is not minimized yet"
        counted = f"{plural(self._runs, 'schedule')} explored"
        interrupt.args = (f"{counted}; {told}" if found else f"{counted}, {told}",)
        interrupt.failing = failing  # type: ignore[attr-defined]  # for the caller, which keeps the schedule

    def _failed(self, found: Execution, how: Found = "search") -> Exploration:
        self._failing = found

        def fails(schedule: Schedule) -> bool:
            return self._play(schedule).failure_signature == found.failure_signature

        schedule = shrink(found.schedule, fails)
        if schedule and self._draws_others:
            for _ in range(_REPETITIONS):
                if self._play(Schedule()).error is not None or not fails(schedule):
                    raise _RandomNumbersMatter
        baseline = self._play(Schedule(), with_details=True) if schedule else None
        confirmed = self._play(schedule, with_details=True)  # the last run: the report shows its output
        if confirmed.error is None or confirmed.failure_signature != found.failure_signature:
            raise self._not_deterministic(found, confirmed, "the failing run and its confirmation")
        return self._result("failed", self._failure(confirmed, baseline or confirmed, how))

    def _failure(self, run: Execution, baseline: Execution, how: Found) -> Failure:
        assert run.error is not None
        touched = {(canonical(each.task), each.step) for each in run.schedule}
        kinds = {step.kind for step in run.trace.steps if step.kind and (step.task, step.number) in touched}

        again = partial(reproduce, self._program, run.schedule, self._options.without_holding())
        schedule = _shown(run.schedule, run.trace)
        arrivals = self._options.arrivals
        return Failure(
            run.error, schedule, run.trace, baseline.trace, frozenset(kinds), arrivals, self._runs, how, again
        )

    def _replay(self, schedule: Schedule) -> Exploration:
        """Run the default order with breakpoints disabled, then `schedule` once, with breakpoints."""
        for each in schedule:
            if isinstance(each, Raise):
                self._options.faults.error(each.error)  # raises here, not inside the loop, if it is not in faults=
        with breakpoints_off() if schedule else nullcontext():
            baseline = self._play(Schedule(), with_details=True)
        run = baseline if baseline.error is not None or not schedule else self._play(schedule, with_details=True)
        if schedule:
            self._check_random_numbers(run)
        if run.unused:
            raise nothing_to_deviate(run)
        self._count(run)
        if run.error is not None:
            return self._result("failed", self._failure(run, baseline, "replay"))
        self._passing.append(run.schedule)
        return self._result("replayed")

    # Random numbers.

    @property
    def _draws_others(self) -> bool:
        """True if runs draw random numbers that differ from run to run, and could be the same."""
        return self._options.reseed_random and not self._options.reseeds and self._around.randomness.has_changed

    def _check_random_numbers(self, passing: Execution) -> None:
        """Run a schedule that has failed before again, with the random numbers of the seed: it may depend on them."""
        if passing.error is None and self._draws_others:
            with self._around.randomness.same(), breakpoints_off():
                run = self._play(passing.schedule)
            if run.error is not None:
                raise _RandomNumbersMatter

    # Tests that cannot be explored.

    def _check_deterministic(self, first: Execution) -> bool:
        """Return True if runs of the empty schedule are equal; return False to begin anew without numbers in names."""
        second, third = self._play(Schedule()), self._play(Schedule())
        if not _are_equal(second, third):
            if forms := patterns_between(second.trace, third.trace) - self._options.counting.patterns:
                self._options = self._options.with_counting(forms)
                self._begin_anew()
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

    def _not_deterministic(
        self, first: Execution, second: Execution, which: str, hint: str = ""
    ) -> NonDeterministicTest:
        if self._draws_others:
            raise _RandomNumbersMatter
        options = self._options
        reads = VaryingReads(
            options.is_project_file, virtual_clocks=options.virtual_clocks, same_random=options.reseeds
        )
        with suppress(Exception), reads:  # the error to report exists already
            self._play(first.schedule)
        return NonDeterministicTest(difference(first, second, which, hint + sentence(reads.found)))

    def _check_cancel_matches(self) -> None:
        faults = self._options.faults
        if faults.cancels and not self._may_cancel and self._options.require_cancel:
            raise nothing_to_cancel(faults, self._play(Schedule()).trace if faults.cancel else None)


class _RandomNumbersMatter(Exception):
    """Runs differ, or fail and pass, and draw random numbers that differ as well."""


_REPETITIONS = 3  # of the default order and of a failing schedule, since random numbers may fail and pass by chance


def _beginning_now(options: Options) -> Options:
    # The clock of asyncio's own loops is monotonic time.
    return options.beginning(float(math.ceil(real_clock.monotonic())), is_debug=debug_mode.is_asked_for())


def _are_equal(run: Execution, other: Execution) -> bool:
    return first_difference(run.trace, other.trace) is None and run.failure_signature == other.failure_signature


def _shown(schedule: Schedule, trace: Trace) -> Schedule:
    """Return the schedule with names as `trace` displays them."""
    return Schedule(replace(each, task=trace.display_name(canonical(each.task))) for each in schedule)
