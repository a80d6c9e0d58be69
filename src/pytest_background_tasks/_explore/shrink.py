"""The minimizer: reduces a failing schedule as long as it fails in the same way. Pure: it does not run schedules.

It is greedy, one simplification at a time until none is left that still fails. In the result, no single part can be
dropped, as in Zeller and Hildebrandt's delta debugging. Schedules are small, so nothing cleverer pays.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from .schedule import Cancel, Delay, Deviation, NetworkFault, Schedule, Slow


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Return a failing schedule whose simpler neighbours all pass. It never has more deviations or longer delays.

    Args:
        schedule: a failing schedule.
        fails: returns True if another schedule fails in the same way; called once for each.

    >>> print(shrink(Schedule.parse("a@1+8, b@2+1"), lambda schedule: "a@1+" in str(schedule)))
    a@1+1
    """
    tried = {schedule}
    while True:
        for simpler in _simpler(schedule):
            if simpler not in tried:
                tried.add(simpler)
                if fails(simpler):
                    schedule = simpler
                    break
        else:
            return schedule


def _simpler(schedule: Schedule) -> Iterator[Schedule]:
    for deviation in schedule.sorted():
        yield schedule.replacing(deviation)
    for deviation in schedule.sorted():
        for lesser in _weaker(deviation):
            yield schedule.replacing(deviation, lesser)


def _weaker(deviation: Deviation) -> Iterator[Deviation]:
    if isinstance(deviation, Delay):
        yield from _shorter(deviation)
    elif isinstance(deviation, Cancel) and deviation.after is not None:
        if deviation.behind is not None:
            yield Cancel(deviation.task, deviation.step, deviation.after)
        for after in _bisect_towards(deviation.after, 0):
            yield Cancel(deviation.task, deviation.step, after)
    elif isinstance(deviation, Slow) and deviation.timer_after is not None:
        yield Slow(deviation.task, deviation.step)
        for timer_after in _bisect_towards(deviation.timer_after, 0):
            yield replace(deviation, timer_after=timer_after)
    elif isinstance(deviation, NetworkFault):
        for after in {int(deviation.fault == "split")} & set(range(deviation.after)):
            yield replace(deviation, after=after)


def _shorter(delay: Delay) -> Iterator[Delay]:
    for by in _bisect_towards(delay.by, 1):
        yield Delay(delay.task, delay.step, by)
    if delay.by and delay.behind is not None:
        yield Delay(delay.task, delay.step, delay.by)
        for behind in _bisect_towards(delay.behind, 0):
            yield replace(delay, behind=behind)


def _bisect_towards(number: int, least: int) -> list[int]:
    """Return at most three numbers below `number`: the least, about half, and one less, which decides."""
    return sorted({least, number // 2, number - 1} & set(range(least, number)))
