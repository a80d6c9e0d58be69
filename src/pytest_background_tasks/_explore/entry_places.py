"""The entry places at which an arrival would change the order, computed from the trace of a run. Pure.

Only places that change the order count: an arrival is delayed just enough to come behind the next step that does not
follow from the arrival itself.
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

from .trace import AFTER, ARRIVING, BEFORE, PLACES, QUEUE, Trace


class EntryPlace(NamedTuple):
    """A place of entry: the place `entry`, or a position in the queue before it, ``behind`` so many handles."""

    entry: int
    behind: int | None = None


def next_place(trace: Trace, index: int) -> int | None:
    """Return the first entry place at which the step at `index` would come behind one more step than in this run.

    Steps that it made ready itself do not count: they would be later as well. Nor do steps at a later time, because
    time stands still during a delay, unless the next timer may fire before it. A step that was withdrawn counts: it
    takes place if the step at `index` comes behind it. Return None if no step is left.
    """
    place = _place_behind_step(trace, index)
    if trace.withdrawn:
        now, entered = trace.rows[index][3], trace.rows[index][5]
        places = [
            place_after(each.entry)
            for each in trace.withdrawn
            if index < each.before and each.time == now and each.entry >= entered
        ]
        return min(places if place is None else [*places, place], default=None)
    return place


def _place_behind_step(trace: Trace, index: int) -> int | None:
    who, number, _, now, _, entered, made_ready, _ = trace.rows[index]
    iteration = entered // PLACES
    # When nothing else is left to run, time passes in the next iteration.
    behind_timer = (iteration + 1) * PLACES + AFTER if trace.overtakable.get((who, number)) else None
    queued = 0
    for _, _, _, time, _, entry, _, _ in trace.rows[index + 1 :]:
        if time != now:
            return behind_timer
        if entry // PLACES == iteration or entry % PLACES not in (QUEUE, ARRIVING):
            return place_after(entry)
        if entry // PLACES == iteration + 1:
            if entry % PLACES == ARRIVING:
                return place_after(entry)
            queued += 1
            if queued > made_ready or iteration + 1 in trace.disturbed:
                return place_after(entry)
    return behind_timer


def place_after(entry: int) -> int:
    """Return the first entry place behind a step that entered at `entry`."""
    return entry + 1 if entry % 2 == 0 else entry + 2


def earlier_place(trace: Trace, index: int) -> EntryPlace | None:
    """Return the first place for the thread's result at `index`, which came undelayed; None if it already is there."""
    who, number, _, _, _, entry, _, _ = trace.rows[index]
    iteration = entry // PLACES
    behind, before = trace.answers[who, number], index
    while before and trace.rows[before - 1][5] // PLACES == iteration:
        before -= 1
    comes_behind_more = index - before > behind or (iteration in trace.disturbed and behind < sys.maxsize)
    return EntryPlace(iteration * PLACES + BEFORE, behind) if comes_behind_more else None


def places_of_answer(trace: Trace, index: int, behind: int | None = None) -> Iterator[EntryPlace]:
    """Yield the next places for the result of a thread, which may enter between any two steps; see `next_place`.

    `behind`: the number of handles in the queue that the answer comes behind, if it entered in the queue.
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
        yield EntryPlace(before, 0)
    if queue and others > 0:
        yield EntryPlace(before, 1 if others > 1 else None)
    elif (place := next_place(trace, index)) is not None:
        yield EntryPlace(place)


def _behind_following(trace: Trace, index: int, behind: int | None) -> Iterator[EntryPlace]:
    """Yield the place behind the next step of the same iteration."""
    entry = trace.rows[index][5]
    iteration, following = entry // PLACES, trace.rows[index + 1][5]
    if following % PLACES == QUEUE:
        others = (len(_queue(trace, iteration)) - 1) * (2 if iteration in trace.disturbed else 1)
        if (count := (behind or 0) + 1) <= others:
            yield EntryPlace(following + BEFORE, count)
    elif following % PLACES == AFTER:
        yield EntryPlace((iteration + 1) * PLACES + BEFORE, 0 if _queue(trace, iteration + 1) else None)
    else:
        yield EntryPlace(place_after(following))


def _queue(trace: Trace, iteration: int, now: float | None = None) -> list[tuple[object, ...]]:
    """Return the steps that an iteration ran from its queue; with `now`, only those at that time."""
    entry = iteration * PLACES + QUEUE
    return [row for row in trace.rows if row[5] == entry and (now is None or row[3] == now)]


def _has_entering(trace: Trace, iteration: int, now: float) -> bool:
    return any(row[5] // PLACES == iteration and row[5] % PLACES != QUEUE and row[3] == now for row in trace.rows)


def places_of_task(trace: Trace) -> dict[int, list[int]]:
    """Return the queue positions at which a step of a client's task may run, by iteration.

    An external event wakes that task, which then cancels another one. Its step runs before the steps of later arrivals,
    whenever those arrive; that is, between any two handles that do not stem from the same arrival.
    """
    places: dict[int, list[int]] = {}
    roots: list[int] = []  # the root of each handle queued by the previous iteration
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
