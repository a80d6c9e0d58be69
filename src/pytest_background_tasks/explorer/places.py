"""At which places an arrival could enter so that the order changes, from the trace of a run. Pure.

Only what changes something counts: an arrival is made late just enough to come behind the next thing that does not
follow from itself.
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

from .trace import AFTER, ARRIVING, BEFORE, PLACES, QUEUE, Trace


class Place(NamedTuple):
    """A place of entry: the place `entry`, or the queue that runs before it, ``behind`` so many handles."""

    entry: int
    behind: int | None = None


def next_place(trace: Trace, index: int) -> int | None:
    """The first place of entry at which the step at `index` would come behind something more than in this run.

    What it made ready itself does not count: that would be later as well. Nor does what happens at a later time, for
    time stands still for lateness. None if nothing is left.
    """
    _, _, _, now, _, entered, made_ready, _ = trace.rows[index]
    iteration = entered // PLACES
    queued = 0
    for _, _, _, time, _, entry, _, _ in trace.rows[index + 1 :]:
        if time != now:
            return None
        if entry // PLACES == iteration or entry % PLACES not in (QUEUE, ARRIVING):
            return place_after(entry)
        if entry // PLACES == iteration + 1:
            if entry % PLACES == ARRIVING:
                return place_after(entry)
            queued += 1
            if queued > made_ready or iteration + 1 in trace.disturbed:
                return place_after(entry)
    return None


def place_after(entry: int) -> int:
    """Return the first entry place behind what has entered at `entry`."""
    return entry + 1 if entry % 2 == 0 else entry + 2


def earlier_place(trace: Trace, index: int) -> Place | None:
    """The first place of the thread's answer at `index`, which came in its usual turn; None if it comes first."""
    who, number, _, _, _, entry, _, _ = trace.rows[index]
    iteration = entry // PLACES
    behind, before = trace.answers[who, number], index
    while before and trace.rows[before - 1][5] // PLACES == iteration:
        before -= 1
    comes_behind_more = index - before > behind or (iteration in trace.disturbed and behind < sys.maxsize)
    return Place(iteration * PLACES + BEFORE, behind) if comes_behind_more else None


def places_of_answer(trace: Trace, index: int, behind: int | None = None) -> Iterator[Place]:
    """As `next_place`, for the answer of a thread, which may enter between any two steps.

    `behind`: the number of handles that it comes behind in the queue, if that is where it has entered.
    """
    _, _, _, now, _, entry, made_ready, _ = trace.rows[index]
    iteration = entry // PLACES
    following = trace.rows[index + 1] if index + 1 < len(trace.rows) else None
    if following is not None and following[3] == now and following[5] // PLACES == iteration:
        yield from _behind_following(trace, index, behind)
        return
    queue = _queue(trace, iteration + 1, now)
    others = len(queue) - (0 if iteration + 1 in trace.disturbed else made_ready)
    before = (iteration + 1) * PLACES + BEFORE
    if made_ready and _has_entering(trace, iteration + 1, now):  # what it makes ready comes behind that
        yield Place(before, 0)
    if queue and others > 0:
        yield Place(before, 1 if others > 1 else None)
    elif (place := next_place(trace, index)) is not None:
        yield Place(place)


def _behind_following(trace: Trace, index: int, behind: int | None) -> Iterator[Place]:
    """The place behind the next thing in the same iteration."""
    entry = trace.rows[index][5]
    iteration, following = entry // PLACES, trace.rows[index + 1][5]
    if following % PLACES == QUEUE:
        others = (len(_queue(trace, iteration)) - 1) * (2 if iteration in trace.disturbed else 1)
        if (count := (behind or 0) + 1) <= others:
            yield Place(following + BEFORE, count)
    elif following % PLACES == AFTER:
        yield Place((iteration + 1) * PLACES + BEFORE, 0 if _queue(trace, iteration + 1) else None)
    else:
        yield Place(place_after(following))


def _queue(trace: Trace, iteration: int, now: float | None = None) -> list[tuple[object, ...]]:
    """Return what has run in an iteration out of its queue; with `now`, only if that was its time."""
    entry = iteration * PLACES + QUEUE
    return [row for row in trace.rows if row[5] == entry and (now is None or row[3] == now)]


def _has_entering(trace: Trace, iteration: int, now: float) -> bool:
    return any(row[5] // PLACES == iteration and row[5] % PLACES != QUEUE and row[3] == now for row in trace.rows)


def places_of_task(trace: Trace) -> dict[int, list[int]]:
    """Behind how many handles of the queue of an iteration, by iteration, the step of a client's task may run.

    A client wakes that task, which then acts: cancels another one. It runs in front of what comes from a later
    arrival, whenever that was; so between any two handles that do not come from the same one.
    """
    places: dict[int, list[int]] = {}
    roots: list[int] = []  # of each handle that the iteration before has queued
    rows, start = trace.rows, 0
    while start < len(rows):
        iteration, made, before = rows[start][5] // PLACES, list[int](), None
        end = start
        while end < len(rows) and rows[end][5] // PLACES == iteration:
            end += 1
        queue = [index for index in range(start, end) if rows[index][5] % PLACES == QUEUE]
        is_known = len(queue) == len(roots) and iteration not in trace.disturbed
        for index in range(start, end):
            is_queued = rows[index][5] % PLACES == QUEUE
            root = roots[index - start] if is_queued and is_known and rows[index][4] is None else index
            if is_queued and is_known and root != before and (index > start or len(queue) < end - start):
                places.setdefault(iteration, []).append(index - start)
            before = root
            made += [root] * rows[index][6]
        roots, start = made, end
    return places
