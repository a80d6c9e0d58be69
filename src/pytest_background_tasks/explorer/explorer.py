"""Explores a scenario: plays schedules until one fails, none is left, or the budget ends."""

import asyncio
import inspect
import math
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from traceback import format_exception_only
from typing import Unpack

from .. import real_time
from ..errors import ExploreError, NotDeterministic, NotPlayable, ReplayError
from . import debug
from .counting import counting_between, counting_in
from .exploration import Exploration, Failure, Found, Verdict
from .minimise import minimised
from .moment import reproduce
from .options import ExplorerArguments, Options
from .play import Run, Scenario, play
from .schedule import Cancel, Raise, Schedule, Slow, canonical
from .search import Search
from .sources import Sources, told
from .surroundings import Surroundings, breakpoints_off
from .threads import HelperThread
from .trace import ANSWERS, Step, Trace, first_difference


class Explorer:
    """Runs a scenario under the orders that asyncio could have produced, the least unusual first.

    It is what ``@explore`` is made of, and serves where a decorator does not: inside a Hypothesis test, in a method of
    a `unittest.TestCase`, in a script. Nothing may be running in an event loop when it explores.

    Args:
        max_schedules: how many schedules to play at most.
        max_deviations: how many deviations a schedule has at most.
        max_seconds: of real time; None for no limit.
        max_steps: how many steps a run may take until it counts as a livelock.
        arrivals: which kinds may come late: ``start``, ``yield``, ``sleep``, ``timer``, ``thread``, ``mock`` (default:
            all of these), or ``any``: every step of every task, for code that must not rely on asyncio's order at all.
        cancel: whose tasks are cancelled from outside, once per schedule: True for those that the scenario starts, or
            patterns (``client*``) and coroutine functions.
        raises: exceptions with which what a task waits for may fail: classes or instances.
        slow: whether answers may outlast the next timer.
        samples: how many random walks to take when all schedules of ``max_deviations`` were played.
        seed: decides the order of the search.
        replay: a schedule, or its text: play only this.
        first: schedules that have failed before: tried right after asyncio's own order. Those that pass now, or cannot
            be played any more, count for nothing.
        leaks: whether tasks that are pending at the end are a failure.
        must_cancel: whether it is an error if ``cancel`` finds no task; else the verdict is without cancellations.
        passes_through: exceptions that are not failures, but end the exploration and are raised: classes, or a
            function that tells them.
        is_own: tells by file name which code is the project's own; default: what lies under the current folder.
            The scenario's own file always is.

    Raises:
        TypeError, ValueError: for an option that cannot be; the message says what to write.

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
        """Explore `scenario`, an ``async def`` without arguments; it is called anew for every run.

        Returns:
            What came of it, in ``verdict`` and ``failure``. The last run that was played is the failing one. A note of
            ``failure.error`` tells how it came about, and how to replay it.

        Raises:
            NotDeterministic: it does not do the same twice.
            NotPlayable: it uses what no schedule can order.
            ReplayError: the schedule to replay speaks of what does not exist.
            ExploreError: ``cancel`` finds no task and must, a loop is running, or nest_asyncio is at work.
        """
        exploration = explored(scenario, self._options)
        if exploration.failure is None:
            return exploration
        return replace(exploration, failure=replace(exploration.failure, _tell=partial(_note, exploration)))


def explored(scenario: Scenario, options: Options) -> Exploration:
    """Explore `scenario` as `Explorer.explore` does, for a caller that reports a failure itself."""
    if asyncio._get_running_loop() is not None:
        raise ExploreError(
            "a loop is running here, and an exploration plays loops of its own\n"
            "In an async test, make the test a plain def; elsewhere, explore in a thread: "
            "await asyncio.to_thread(Explorer().explore, scenario)"
        )
    if hasattr(asyncio, "_nest_patched"):
        raise ExploreError(
            "nest_asyncio.apply() has been called, and with its tasks no order can be played\n"
            "Do not call it in the session that explores (explore apart from tests that need it: pytest -m explore)"
        )
    code = getattr(inspect.unwrap(scenario), "__code__", None)
    if code is not None and isinstance(options.is_own, dict):
        options.is_own[code.co_filename] = True  # a scenario is its project's own, wherever it lies
    with HelperThread() as helper, Surroundings(may_raise=bool(options.raises)) as around:
        try:
            return _Session(scenario, options, helper, around).explore()
        except (NotDeterministic, NotPlayable) as error:
            for sentence in around.missing:
                error.add_note(sentence)
            raise


def _note(exploration: Exploration) -> str:
    from ..report.section import section
    from ..report.text import plain

    assert exploration.failure is not None
    replay = f"Explorer(replay={str(exploration.failure.schedule)!r}), with the other options as here"
    return plain(section(exploration, replay, _WIDTH))


_WIDTH = 80  # cells of a note, which is read in whatever shows it


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
                    return self._failed(again, "first")
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
            return "exhausted"
        return "bounded" if self._search.is_bounded else "truncated"

    def _result(self, verdict: Verdict, failure: Failure | None = None) -> Exploration:
        self._helper.foreign.check(failed=failure is not None)
        search = self._search
        # The number under way is not done yet.
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

    # A failure.

    def _failing_again(self) -> Run | None:
        """Of the schedules that have failed before, the first that still does."""
        for schedule in self._options.first:
            with suppress(ReplayError):  # it raises what is in raises= no more
                run = self._play(schedule)
                if run.unused or run.is_cut or not self._may_be(run):
                    continue
                if run.error is not None:
                    self._runs += 1
                    return run
                self._passing.append(run.schedule)
        return None

    def _may_be(self, run: Run) -> bool:
        """Whether the options (still) ask for the faults of a schedule."""
        return all(
            canonical(each.task) in run.trace.cancellable if isinstance(each, Cancel) else self._options.slow
            for each in run.schedule
            if isinstance(each, (Cancel, Slow))
        )

    def _failed(self, found: Run, how: Found = "search") -> Exploration:
        def fails(schedule: Schedule) -> bool:
            return self._play(schedule).way == found.way

        schedule = minimised(found.schedule, fails)
        usual = self._play(Schedule(), tells=True) if schedule else None
        confirmed = self._play(schedule, tells=True)  # the last one: what it leaves behind is what is looked at
        if confirmed.error is None or confirmed.way != found.way:
            raise self._not_deterministic(found, confirmed, "when the failing run was played again")
        return self._result("failed", self._failure(confirmed, usual or confirmed, how))

    def _failure(self, run: Run, usual: Run, how: Found) -> Failure:
        assert run.error is not None
        touched = {(canonical(each.task), each.step) for each in run.schedule}
        kinds = {step.kind for step in run.trace.steps if step.kind and (step.who, step.number) in touched}

        again = partial(reproduce, self._scenario, run.schedule, self._options)
        schedule = _shown(run.schedule, run.trace)
        arrivals = self._options.arrivals
        return Failure(run.error, schedule, run.trace, usual.trace, frozenset(kinds), arrivals, self._runs, how, again)

    def _replay(self, schedule: Schedule) -> Exploration:
        """Play `schedule` once, with the debugger's breakpoints; asyncio's own order before it, without them."""
        for each in schedule:
            if isinstance(each, Raise):
                self._options.error(each.error)  # refuses here what is not in raises=, and not from inside the loop
        with breakpoints_off() if schedule else nullcontext():
            usual = self._play(Schedule(), tells=True)
        run = usual if usual.error is not None or not schedule else self._play(schedule, tells=True)
        if run.unused:
            raise _nothing_to_deviate(run)
        self._count(run)
        if run.error is not None:
            return self._result("failed", self._failure(run, usual, "replay"))
        self._passing.append(run.schedule)
        return self._result("replayed")

    # What cannot be explored.

    def _check_deterministic(self, first: Run) -> bool:
        """Whether it is; if it is but for names that count on, the exploration begins anew without the numbers."""
        second, third = self._play(Schedule()), self._play(Schedule())
        if not _are_equal(second, third):
            if forms := counting_between(second.trace, third.trace) - self._options.counting.forms:
                self._options = self._options.with_counting(forms)
                self._search = Search(self._options, self._seed)
                self._runs = self._cut = 0
                return False
            raise self._not_deterministic(second, third, "under the same schedule")
        if not _are_equal(first, second):
            raise self._not_deterministic(
                first,
                second,
                "in its first run as in the next (it left state over outside the scenario; a cache that it filled?)",
            )
        return True

    def _not_deterministic(self, first: Run, second: Run, when: str) -> NotDeterministic:
        with suppress(Exception), Sources(self._options.is_own) as sources:  # there is an error already
            self._play(first.schedule)
        return NotDeterministic(_difference(first, second, when, told(sources.found)))

    def _check_cancel_matches(self) -> None:
        targets = self._options.cancel
        if targets is False or self._may_cancel or not self._options.must_cancel:
            return
        if targets is True:
            raise ExploreError(_NOTHING_TO_CANCEL)
        trace = self._play(Schedule()).trace
        names = sorted({trace.shown(step.who) for step in trace.steps if step.got != "call"} - {"main"})
        shown = ", ".join(getattr(target, "__qualname__", repr(target)) for target in targets)
        raise ExploreError(
            f"cancel= matches no task in any run: {shown}\n  there are: {', '.join(names) or 'none'}\n"
            f"Write one of these, or cancel=True for all tasks that the scenario starts"
        )


_NOTHING_TO_CANCEL = """\
cancel=True found no task to cancel: the test starts none of its own that waits
Wrap the call that is to be cancelled:  task = asyncio.create_task(...)"""


def _beginning_now(options: Options) -> Options:
    # On asyncio's own loops the clock is the monotonic one.
    return options.beginning(float(math.ceil(real_time.monotonic())), is_debug=debug.is_asked_for())


def _are_equal(run: Run, other: Run) -> bool:
    return first_difference(run.trace, other.trace) is None and run.way == other.way


def _difference(run: Run, other: Run, when: str, read: str) -> str:
    first, second = run.trace, other.trace
    index = first_difference(first, second)
    ends = _ends(run, other)
    if index is None:
        return (
            f"the scenario does not end in the same way {when}, though each step was the same: "
            f"a value differs that is no part of the order (a set, id(), the wall clock, state left over)\n{ends}{read}"
        ).rstrip()
    return (
        f"the scenario does not do the same {when}. At step {index + 1}:\n"
        f"  once   {_step(first, index)}\n"
        f"  again  {_step(second, index)}\n"
        f"{ends}{read}{_REASONS}"
    )


def _ends(run: Run, other: Run) -> str:
    """Return how the two runs end, if one of them fails."""
    if run.error is None and other.error is None:
        return ""
    return "".join(
        f"At the end {word} it {'passes' if each.error is None else f'fails: {_in_a_line(each.error)}'}\n"
        for word, each in (("once", run), ("again", other))
    )


def _in_a_line(error: BaseException) -> str:
    return format_exception_only(error)[0].splitlines()[0]


_REASONS = """\
Usual reasons, and what helps:
  a set of objects, which goes by their addresses   a dict, or a __hash__ that counts
  the wall clock                                    asyncio.get_running_loop().time() in its place
  a cache or counter outside the scenario           to set it back at the beginning\
"""


def _step(trace: Trace, index: int) -> str:
    if index >= len(trace.steps):
        return "nothing more happens"
    step: Step = trace.steps[index]
    name = trace.shown(step.who)
    if step.got != "call":
        what = f"{name} takes its step {step.number}{'' if step.got == 'value' else f' and gets {step.got}'}"
    elif step.kind in ANSWERS:
        what = f"what {name} waits for before its step {step.number} arrives"
    else:
        what = f"{name} is called"
    return f"{what}, at {step.time:g} s"


def _nothing_to_deviate(run: Run) -> ReplayError:
    trace, deviation = run.trace, run.unused[0]
    steps = [step for step in trace.steps if step.who == canonical(deviation.task)]
    if steps:
        there = ", ".join(sorted({f"{step.number} ({step.kind or 'no arrival'})" for step in steps}))
        what = f"no step {deviation.step} of {deviation.task} arrives; its steps are: {there}"
    else:
        names = ", ".join(sorted({trace.shown(step.who) for step in trace.steps if step.kind}))
        what = f"there is no task {deviation.task}; what arrives is: {names or 'nothing'}"
    return ReplayError(f"{deviation} cannot be played: {what}\nThe scenario has changed since, or it is another Python")


def _shown(schedule: Schedule, trace: Trace) -> Schedule:
    """The schedule with the names that a reader of `trace` sees."""
    return Schedule(replace(each, task=trace.shown(canonical(each.task))) for each in schedule)
