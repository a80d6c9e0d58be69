"""The minimizer keeps the failure, and the schedule never grows."""

from collections.abc import Callable
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from pytest_background_tasks import Cancel, Delay, Schedule
from pytest_background_tasks._explore.schedule import Deviation
from pytest_background_tasks._explore.shrink import shrink

late = st.builds(Delay, st.sampled_from("abc"), st.integers(0, 2), st.integers(1, 30))
cancels = st.builds(Cancel, st.sampled_from("abc"), st.integers(0, 2), st.none() | st.integers(0, 9))
schedules = st.builds(Schedule, st.lists(late | cancels, max_size=5, unique_by=lambda each: (each.task, each.step)))


def at_least(needed: Schedule) -> Callable[[Schedule], bool]:
    """Fail if each needed deviation is present, at least as late, or cancelled there or at a later place."""

    def covers(given: Deviation, wanted: Deviation) -> bool:
        if isinstance(wanted, Delay) and isinstance(given, Delay):
            return (given.task, given.step) == (wanted.task, wanted.step) and given.by >= wanted.by
        if isinstance(wanted, Cancel) and isinstance(given, Cancel) and None not in (wanted.after, given.after):
            return (given.task, given.step) == (wanted.task, wanted.step) and given.after >= wanted.after
        return given == wanted

    return lambda schedule: all(any(covers(each, wanted) for each in schedule) for wanted in needed)


def up_to(deviation: Deviation) -> st.SearchStrategy[Deviation]:
    if isinstance(deviation, Delay):
        return st.builds(Delay, st.just(deviation.task), st.just(deviation.step), st.integers(1, deviation.by))
    if isinstance(deviation, Cancel) and deviation.after is not None:
        return st.builds(Cancel, st.just(deviation.task), st.just(deviation.step), st.integers(0, deviation.after))
    return st.just(deviation)


@given(schedules, st.data())
def test_minimized_schedule_has_only_the_needed_deviations(schedule: Schedule, data: st.DataObject) -> None:
    """It leaves no needless deviation and no needless delay."""
    some = data.draw(st.sampled_from([c for n in range(4) for c in combinations(schedule.sorted(), n)]))
    needed = Schedule([data.draw(up_to(deviation)) for deviation in some])
    assert shrink(schedule, at_least(needed)) == needed


def test_minimizer_tries_few_schedules() -> None:
    """It tries no delay, the smallest, half, and one less, which decides."""
    asked: list[str] = []
    shrink(Schedule.parse("a@1+9"), lambda schedule: bool(asked.append(str(schedule))))
    assert asked == ["", "a@1+1", "a@1+4", "a@1+8"]


@given(schedules, st.randoms(use_true_random=False))
def test_schedule_never_grows_and_no_candidate_is_tried_twice(schedule: Schedule, random: st.DataObject) -> None:
    """This holds for any answers."""
    asked: dict[Schedule, bool] = {schedule: True}

    def fails(candidate: Schedule) -> bool:
        assert candidate not in asked
        asked[candidate] = random.random() < 0.5  # type: ignore[attr-defined]
        return asked[candidate]

    smallest = shrink(schedule, fails)
    assert asked[smallest]
    originals = {(each.task, each.step): each for each in schedule}
    for each in smallest:
        original = originals[each.task, each.step]
        if isinstance(each, Delay):
            assert isinstance(original, Delay)
            assert each.by <= original.by


@given(schedules)
def test_each_remaining_deviation_is_needed_for_the_failure(schedule: Schedule) -> None:
    def fails(candidate: Schedule) -> bool:
        return sum(each.by for each in candidate if isinstance(each, Delay)) >= 5

    if fails(schedule):
        smallest = shrink(schedule, fails)
        assert fails(smallest)
        assert not any(fails(smallest.replacing(each)) for each in smallest)
