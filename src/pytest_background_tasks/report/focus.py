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
    that fail or wait at the end, that run while another is late, that run later. Nobody else; nor a task that only
    starts others and waits for them.
    """
    story = until_the_end(failing.here)
    order = [lane for lane in in_order(failing) if any(moment.lane == lane for moment in story.moments)]
    start = failing.parting or 0
    late = max((each.moment for each in story.differences if each.moment is not None), default=start)
    different = {each.lane for each in story.differences}
    parting = {moment.lane for each in (failing.usual, story) if each for moment in _at(each, failing.parting)}
    wakers = {
        story.moments[index].lane for each in story.differences if (index := _waker(story, each.moment)) is not None
    }
    meanwhile = _running(story, start, late + 1)
    later = _running(story, start, len(story.moments))
    code = _code(story, different)
    ends = {moment.lane: moment for moment in story.moments if moment.lane}

    def weight(lane: str) -> tuple[bool, ...]:
        if lane == story.lanes[0]:  # the test itself: that it fails, and looks at last, is no news
            ends_badly, is_later = not ends[lane].end, lane in later and bool(code & _code(story, {lane}))
        else:
            ends_badly, is_later = ends[lane].end.startswith("raises") or not ends[lane].end, lane in later
        return lane in different, lane in parting, lane in wakers, ends_badly, lane in meanwhile, is_later

    mattering = [lane for lane in order if any(weight(lane)) and (lane in different or not _only_starts(story, lane))]
    chosen = sorted(mattering or order, key=weight, reverse=True)[:room]
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


def _code(story: Story, lanes: set[str]) -> set[tuple[str, str]]:
    """The functions that these tasks have run."""
    return {
        (line.site.file, line.site.function) for moment in story.moments if moment.lane in lanes for line in moment.ran
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
