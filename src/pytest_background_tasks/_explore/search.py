"""The search: decides which schedule to run next, from the traces so far. Pure: it sees only schedules and traces.

It gives all schedules with one deviation, then all with two, and so on: bounding the number of deviations from a
deterministic order is delay-bounded scheduling (Emmi, Qadeer, Rakamaric: "Delay-bounded scheduling", POPL 2011). Most
bugs need one or two. Schedules with the same number of deviations come in a shuffled order, so that the position of a
bug does not decide when it is found. The first few are special: in each, one answer comes last, so all other tasks run
in the middle of what was meant as one piece. The earliest answer, which lets most tasks run, goes first.

Only schedules that change the order are tried: an arrival is delayed just enough to come behind the next step that does
not follow from the arrival itself. From that run it is delayed further, until no other step is left to run.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from .entry_places import EntryPlace, earlier_place, next_place, place_after, places_of_answer, places_of_task
from .options import Options
from .schedule import NETWORK_FAULTS, Cancel, Delay, Deviation, NetworkFault, Raise, Schedule, Slow
from .trace import ANSWERS, ARRIVING, BEFORE, PLACES, QUEUE, Step, Trace

_WALK_IS_LATE = 1 / 3  # fraction of delayed arrivals in a random walk; half of those by one place, a quarter by two...
_FEW = 20  # number of answers that come last: in a long scenario, all of them would use up the budget
_POOL = 2000  # largest number of schedules from which the next is drawn


class Search:
    """The state of a search: gives schedules and learns from their traces.

    Args:
        options: the bounds of the search.
        seed: decides the order.

    Attributes:
        deviations: the current number of deviations per schedule.
        distinct: the number of different runs so far.
        first: the trace of the first run; None before.
    """

    def __init__(self, options: Options, seed: int | str) -> None:
        self._options = options
        self._random = random.Random(seed)
        self._given: set[Schedule] = {Schedule()}
        self._pool: list[Schedule] = [Schedule()]
        self._first_few: list[Schedule] = []
        self._last_ones: list[Schedule] = []  # cancellations by tasks: few bugs need them alone
        self._parents: list[tuple[Schedule, Trace]] = []
        self._grown: list[tuple[Schedule, Trace]] = []
        # Hashes, because 100,000 traces need too much memory.
        self._seen: dict[tuple[int, frozenset[Deviation]], int] = {}
        self._walks_left = options.random_walks
        self.first: Trace | None = None
        self._last: Trace | None = None
        self._has_more = False
        self.deviations: int = 0
        self.distinct: int = 0

    @property
    def has_one_order(self) -> bool:
        """True if the run that was observed has nothing to vary."""
        return self.first is not None and next(one_more(Schedule(), self.first, self._options), None) is None

    @property
    def is_bounded(self) -> bool:
        """True if all schedules with up to ``max_deviations`` deviations were given."""
        return self._is_empty and not (self._parents or self._grown)

    @property
    def is_complete(self) -> bool:
        """True if no schedule is left, with any number of deviations."""
        return self.is_bounded and not self._has_more

    def next(self) -> Schedule | None:
        """Return the schedule to run next, None at the end."""
        self._fill_pool()
        if self._first_few:
            return self._first_few.pop()
        for pool in (self._pool, self._last_ones):
            if pool:
                place = int(self._random.random() * len(pool))
                pool[place], pool[-1] = pool[-1], pool[place]
                return pool.pop()
        if self._walks_left and self._has_more:
            self._walks_left -= 1
            return self._random_walk()
        return None

    def observe(self, schedule: Schedule, trace: Trace) -> None:
        """Learn from a run: `schedule` without its unused deviations, and its trace."""
        self.first, self._last = self.first or trace, trace
        faults = frozenset([each for each in schedule if type(each) is not Delay])
        facts = (hash(trace.signature), faults)
        lateness = sum([row[5] for row in trace.rows])
        if (before := self._seen.get(facts)) is not None:
            if not self.is_walking and lateness < before:  # its steps may still come to lie between those of the first
                self._seen[facts] = lateness
                self._propose(delay_longer(schedule, trace), self._pool)
            elif trace.answers and not self.is_walking:  # one handle further it may still change the order
                self._propose(delay_longer(schedule, trace, only_in_queue=True), self._pool)
            return
        self._seen[facts] = lateness
        self.distinct += 1
        if self.is_walking:
            return
        self._propose(delay_longer(schedule, trace), self._pool)
        if self.deviations < self._options.max_deviations:
            self._grown.append((schedule, trace))
        elif not self._has_more:
            more = one_more(schedule, trace, self._options)
            self._has_more = any(extension not in self._given for extension in more)

    @property
    def is_walking(self) -> bool:
        """True if random walks have begun."""
        return self._walks_left < self._options.random_walks

    @property
    def _is_empty(self) -> bool:
        return not (self._first_few or self._pool or self._last_ones)

    def _fill_pool(self) -> None:
        if self._is_empty and not self._parents and self._grown:
            self.deviations += 1
            self._parents, self._grown = self._grown, []
            self._random.shuffle(self._parents)
        # A long scenario has more schedules than fit in memory; a pool of this size shuffles well enough.
        while self._parents and len(self._pool) < _POOL:
            schedule, trace = self._parents.pop()
            if not schedule:
                last = list(delay_to_end(trace))
                few = self._random.sample(range(len(last)), min(_FEW, len(last)))
                self._propose([last[each] for each in sorted(few, reverse=True)], self._first_few)
            self._propose(one_more(schedule, trace, self._options), self._pool)
        if self._is_empty and self._grown:
            self._fill_pool()

    def _propose(self, schedules: Iterable[Schedule], pool: list[Schedule]) -> None:
        given, may_be_last = self._given, self._options.faults.cancels and pool is self._pool and self.deviations == 1
        for schedule in schedules:
            if schedule not in given:
                given.add(schedule)
                is_last = may_be_last and any(type(each) is Cancel and each.behind is not None for each in schedule)
                (self._last_ones if is_last else pool).append(schedule)

    def _random_walk(self) -> Schedule:
        """Return a schedule with random delays of arrivals of the first or the last run."""
        trace = self._random.choice([self.first, self._last])
        assert trace is not None
        late = []
        for _, step in trace.arrivals():
            if self._random.random() < _WALK_IS_LATE:
                by = 1
                while self._random.random() < 1 / 2:
                    by += 1
                late.append(Delay(step.task, step.number, by))
        return Schedule(late)


_late = lru_cache(10_000)(Delay)  # the same few deviations recur


def _late_until(step: Step, place: int, behind: int | None = None) -> Delay:
    """Return the delay of `step`, which was not delayed, to the entry place `place`."""
    by = (place - step.entry + 1) // 2
    return _late(step.task, step.number, by) if behind is None else _late(step.task, step.number, by, behind)


def delay_longer(schedule: Schedule, trace: Trace, *, only_in_queue: bool = False) -> Iterator[Schedule]:
    """Yield `schedule` with one of its delays lengthened, for each delay where that changes the order.

    `only_in_queue`: only results of threads, and only later positions in the queue in which they entered.
    """
    late = {(each.task, each.step): each for each in schedule if isinstance(each, Delay)}
    answers = trace.answers
    for index, (who, number, _, _, _, entry, _, _) in enumerate(trace.rows):
        if answers and (who, number) in answers:
            if (each := late.get((who, number))) is not None:
                yield from _later_answer(schedule, each, trace, index, only_in_queue=only_in_queue)
        elif entry % 2 and not only_in_queue and (who, number) in late:  # it entered at an entry place
            place = next_place(trace, index)
            if place is not None:
                each = late[who, number]
                yield schedule.replacing(each, _late(who, number, each.by + (place - entry) // 2))


def _later_answer(
    schedule: Schedule, each: Delay, trace: Trace, index: int, *, only_in_queue: bool
) -> Iterator[Schedule]:
    who, number, got, _, _, entry, _, _ = trace.rows[index]
    if entry % 2 or (got == "call" and each.behind is not None):
        entry = entry - QUEUE + BEFORE if entry % PLACES == QUEUE else entry
        for place, behind in places_of_answer(trace, index, each.behind):
            by = each.by + (place - entry) // 2
            if (by or behind is not None) and not (only_in_queue and (by, behind) != (each.by, (each.behind or 0) + 1)):
                yield schedule.replacing(each, _late(who, number, by, behind))


def delay_to_end(trace: Trace) -> Iterator[Schedule]:
    """Yield schedules that delay one answer until after all other steps at its time in the default order."""
    last_entry = {step.time: step.entry for step in trace.steps}
    for each in trace.withdrawn:
        last_entry[each.time] = max(last_entry.get(each.time, 0), each.entry)
    for index, step in trace.arrivals():
        if step.kind in ANSWERS and next_place(trace, index) is not None:
            yield Schedule([_late_until(step, place_after(last_entry[step.time]))])


def one_more(schedule: Schedule, trace: Trace, options: Options) -> Iterator[Schedule]:
    """Yield `schedule` with one more deviation, for each deviation that its trace shows to be possible."""
    taken = {(type(each), each.task, each.step) for each in schedule}
    has_cancel = any(isinstance(each, Cancel) for each in schedule)
    for index, step in trace.arrivals():
        for deviation in _deviations_at(trace, index, step, options):
            if (type(deviation), step.task, step.number) not in taken:
                yield schedule.plus(deviation)
    if trace.cancellable and not has_cancel:
        for cancel in _cancellations(trace):
            yield schedule.plus(cancel)


def _deviations_at(trace: Trace, index: int, step: Step, options: Options) -> Iterator[Deviation]:
    if trace.answers and (step.task, step.number) in trace.answers:
        for place, behind in _places(trace, index, step):
            yield _late_until(step, place, behind)
    elif (entry := next_place(trace, index)) is not None:
        yield _late_until(step, entry)
    if step.kind in ANSWERS:
        for name in options.faults.errors:
            yield Raise(step.task, step.number, name)
    if step.kind in options.slow_kinds:
        yield from _slow(trace, index, step)
    if trace.faults and (possible := trace.faults.get((step.task, step.number))) is not None:
        for fault in NETWORK_FAULTS:
            if fault in options.faults.network:
                yield from (NetworkFault(step.task, step.number, fault, after) for after in possible.places(fault))


def _slow(trace: Trace, index: int, step: Step) -> Iterator[Slow]:
    """Yield the ways in which the next timer does not wait for all that follows from an answer."""
    may_be_delayed = trace.overtakable.get((step.task, step.number))
    if may_be_delayed is None:
        return
    if not may_be_delayed:
        yield Slow(step.task, step.number)
    for timer_after in range(_chain(trace, index)):
        yield Slow(step.task, step.number, timer_after)


def _chain(trace: Trace, index: int) -> int:
    """Return the number of iterations from the one of the step at `index` to the last one at its time."""
    first, *following = trace.steps[index:]
    last = first.entry // PLACES
    for step in following:
        if step.time != first.time or step.entry // PLACES > last + 1:
            break
        last = step.entry // PLACES
    return last - first.entry // PLACES + 1


def _places(trace: Trace, index: int, step: Step) -> Iterator[EntryPlace]:
    """Yield the other places at which the result of a thread could enter, if it came undelayed."""
    if step.entry % PLACES == ARRIVING:
        if (earlier := earlier_place(trace, index)) is not None:
            yield earlier
        yield from places_of_answer(trace, index)


def _cancellations(trace: Trace) -> Iterator[Cancel]:
    """Yield the cancellations of suspended tasks: one per entry place, if any step ran since the previous place."""
    suspended: dict[str, int] = {}
    by_tasks = places_of_task(trace)
    for index, step in enumerate(trace.steps):
        if step.task not in trace.cancellable or step.delivered == "call":
            continue
        yield Cancel(step.task, step.number)
        if step.task in suspended:
            yield from _cancellations_between(trace, suspended[step.task], index)
            yield from _cancellations_by_tasks(trace, suspended[step.task], index, by_tasks)
        suspended[step.task] = index


def _cancellations_between(trace: Trace, suspended: int, woken: int) -> Iterator[Cancel]:
    first = (trace.steps[suspended].entry // PLACES + 1) * PLACES + 1
    step, done = trace.steps[woken], -1
    for other in trace.steps[suspended + 1 : woken]:
        after = max(0, (place_after(other.entry) - first) // 2)
        if other.entry // PLACES < step.entry // PLACES and after != done:
            yield Cancel(step.task, step.number, after)
            done = after


def _cancellations_by_tasks(
    trace: Trace, suspended: int, woken: int, places: Mapping[int, list[int]]
) -> Iterator[Cancel]:
    first = trace.steps[suspended].entry // PLACES + 1
    step = trace.steps[woken]
    for iteration in range(first, step.entry // PLACES):
        for behind in places.get(iteration, ()):
            yield Cancel(step.task, step.number, 2 * (iteration - first), behind)
