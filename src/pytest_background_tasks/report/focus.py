"""Who matters in a failure: the tasks whose steps are worth a column of their own."""

from __future__ import annotations

from dataclasses import replace

from .story import Failing, Moment, Story


def until_the_end(story: Story) -> Story:
    """Without what still runs when the test itself has ended."""
    main = story.lanes[:1]
    ends = (index for index, moment in enumerate(story.moments) if moment.end and (moment.lane,) == main)
    end = next(ends, len(story.moments)) + 1
    differences = (each if (each.moment or 0) < end else replace(each, moment=None) for each in story.differences)
    return replace(story, moments=story.moments[:end], differences=tuple(differences))


def columns_of(failing: Failing, room: int) -> list[str]:
    """At most `room` tasks, in the order in which they start by asyncio's own order.

    First those that are different, then those that are about to run when the orders part, that woke the different ones,
    that fail or wait at the end, that run while another is late, that run the code of the different ones later. If that
    is but one, who else runs later. Nobody whose code is not the user's, nor who only starts others and waits for them.
    """
    story = until_the_end(failing.here)
    start = failing.parting or 0
    late = max((each.moment for each in story.differences if each.moment is not None), default=start)
    different = {each.lane for each in story.differences}
    parting = {moment.lane for each in (failing.usual, story) if each for moment in _at(each, failing.parting)}
    wakers = {index for each in story.differences if (index := _waker(story, each.moment)) is not None}
    meanwhile, later = _running(story, start, late + 1), _running(story, start, len(story.moments))
    code = {lane: _code(story, lane) for lane in story.lanes}
    shared = {function for lane in different for function in code.get(lane, ())}
    ends = {moment.lane: moment.end for moment in story.moments}

    def weight(lane: str) -> tuple[bool, ...]:
        return (
            lane in different,
            lane in parting,
            any(story.moments[index].lane == lane for index in wakers),
            not ends[lane]
            or (ends[lane].startswith("raises") and lane != story.lanes[0]),  # that the test fails is known
            lane in meanwhile,
            lane in later and bool(code[lane] & shared),
        )

    order = [lane for lane in in_order(failing) if lane in ends]
    told = [lane for lane in order if lane in different or (code[lane] and not _only_starts(story, lane))]
    chosen = [lane for lane in told if any(weight(lane))]
    if len(chosen) < 2:
        chosen += [lane for lane in told if lane in later and lane not in [*chosen, story.lanes[0]]]
    chosen = sorted(chosen or told or order, key=weight, reverse=True)[:room]
    return [lane for lane in order if lane in chosen]


def in_order(failing: Failing) -> list[str]:
    """All tasks in the order in which they start by asyncio's own order; behind them those that it does not have."""
    return list(dict.fromkeys([*(failing.usual.lanes if failing.usual else ()), *failing.here.lanes]))


def does_something(moment: Moment) -> bool:
    """Whether a moment is anything to a reader: not so the inner callbacks of asyncio, and waiting on."""
    return bool(moment.ran or (moment.is_step and (moment.end or moment.what != "goes on")))


def _at(story: Story, index: int | None) -> list[Moment]:
    """What comes first from there on."""
    return [] if index is None else [moment for moment in story.moments[index:] if does_something(moment)][:1]


def _code(story: Story, lane: str) -> set[tuple[str, str]]:
    """The functions that a task has run."""
    return {
        (line.site.file, line.site.function) for moment in story.moments if moment.lane == lane for line in moment.ran
    }


def _waker(story: Story, index: int | None) -> int | None:
    return None if index is None else story.moments[index].woken_by


def _running(story: Story, start: int, end: int) -> set[str]:
    """The tasks that do something from `start` on, before `end`."""
    return {moment.lane for moment in story.moments[start:end] if does_something(moment)}


def _only_starts(story: Story, lane: str) -> bool:
    """Whether a task does nothing but start others, wait for them, and end: the body of most tests."""
    steps = [moment for moment in story.moments if moment.lane == lane and moment.is_step]
    waits = [moment.waits_for for moment in steps if not moment.end]
    return bool(steps and steps[0].starts) and all(each.startswith(("the task ", "the tasks ")) for each in waits)
