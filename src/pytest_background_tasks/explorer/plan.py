"""The deviations of one schedule as they come into effect during a run.

What is late leaves the queue, or is kept from it, and waits outside until the place at which it enters. A place is the
start of an iteration, behind everything already queued: before or after what arrives there by itself. The answer of a
thread may also enter in the queue itself: a thread appends to it while a batch of handles runs.

Private names of CPython used here: ``_callback`` of a handle.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import Any, Protocol

from .actors import Actor
from .arrivals import Arrival, stepping_task
from .schedule import Cancel, Deviation, Late, Raise, Schedule, Slow, canonical
from .trace import ARRIVING, BEFORE, PLACES, QUEUE

_Key = tuple[str, int]
_entry, _behind = itemgetter(0), itemgetter(1)  # of what is outside


class Judge(Protocol):
    """What a plan asks about handles."""

    def key_of(self, handle: Any) -> _Key | None:
        """The task and the step that `handle` makes ready, None if it is nobody's."""

    def kind_of(self, handle: Any) -> str | None:
        """The kind of arrival that `handle` is, None if it may not be late."""


class Plan:
    """What is still to deviate in a run, and what is under way because it did.

    Args:
        schedule: what is to be played.
        judge: the loop, which knows whose handles are and which may be late.
        actors: the tasks that have a name, by it.
        make_error: gives an exception for the name of its class.

    Attributes:
        cancellations: those that are still to come.
        outside: what is late: where it enters; in a queue, behind how many handles; and itself.
        cancelling: as ``outside``, the cancellation that is under way.
        has_cancelled: whether the cancellation took place.
    """

    def __init__(
        self,
        schedule: Schedule,
        judge: Judge,
        actors: Mapping[str, Actor],
        make_error: Callable[[str], BaseException],
    ) -> None:
        self._judge = judge
        self._actors = actors
        self._make_error = make_error
        self._late: dict[_Key, Late] = {}
        self._slow: dict[_Key, Slow] = {}
        self._raise: dict[_Key, Raise] = {}
        self.cancellations: dict[_Key, Cancel] = {}
        self._keys: set[_Key] = set()
        self._prepare(schedule)
        self._enters_queue = False
        self.outside: list[tuple[int, int, asyncio.Handle]] = []
        self._outlasting: list[asyncio.Handle] = []
        self.cancelling: list[tuple[int, int, asyncio.Handle]] = []
        self.has_cancelled: bool = False

    def _prepare(self, schedule: Schedule) -> None:
        kinds: dict[type, dict[_Key, Any]] = {
            Late: self._late,
            Slow: self._slow,
            Raise: self._raise,
            Cancel: self.cancellations,
        }
        for deviation in schedule:
            kinds[type(deviation)][canonical(deviation.task), deviation.step] = deviation
        self._keys.update(self._late, self._slow, self._raise)

    def is_idle(self) -> bool:
        """Whether nothing deviates in this iteration, unless it is something that arrives."""
        is_under_way = self.outside or self._outlasting or self.cancelling or self.cancellations
        return not (is_under_way or self._may_be_ready())

    def is_over(self) -> bool:
        """Whether nothing can deviate any more."""
        return not (self.outside or self._outlasting or self.cancelling or self._has_unused())

    @property
    def unused(self) -> tuple[Deviation, ...]:
        """The deviations whose step never came."""
        if not self._has_unused():
            return ()
        kinds: Iterable[Mapping[_Key, Deviation]] = (self._late, self._slow, self._raise, self.cancellations)
        return tuple(sorted((deviation for kind in kinds for deviation in kind.values()), key=str))

    def _has_unused(self) -> bool:
        return bool(self._late or self._slow or self._raise or self.cancellations)

    def take_out(self, queue: "deque[Any]", iteration: int) -> bool:
        """Take out of the queue what is to come later than the queue's own turn in `iteration`; whether that is any."""
        if not self._may_be_ready():
            return False
        keys, key_of, entry = self._keys, self._judge.key_of, iteration * PLACES
        staying = [handle for handle in queue if key_of(handle) not in keys or not self.keeps(handle, entry)]
        if len(staying) == len(queue):
            return False
        queue.clear()
        queue.extend(staying)
        return True

    def _may_be_ready(self) -> bool:
        """Whether one of the steps in question may have come; costs little, and mostly none has."""
        for name, step in self._keys:
            actor = self._actors.get(name)
            if actor is None or actor.step == step:
                return True
        return False

    def staying(self, answers: Iterable[Any], iteration: int, behind_least: dict[_Key, int]) -> list[Any]:
        """Those of the `answers` of threads that arrive in `iteration` as usual.

        What a function has sent to the loop comes before the function's own answer.
        """
        usual, staying = (iteration * PLACES + ARRIVING, 0), []
        places: dict[int, tuple[int, int]] = {}
        for answer in answers:
            key, after = (answer.who, answer.number), places.get(id(answer.asked_behind))
            if after is not None:
                behind_least[key] = after[1] + 1 if after[0] == iteration * PLACES + QUEUE else sys.maxsize
            count = len(self.outside)
            is_kept = self.keeps(answer, usual[0], behind_least[key])
            place = self.outside.pop()[:2] if len(self.outside) > count else usual
            place = max(place, after or place)
            if place != usual:
                self.outside.append((*place, answer))
            elif not is_kept:
                staying.append(answer)
            places[id(answer)] = place
        return staying

    def keeps(self, handle: asyncio.Handle, entry: int, behind_least: int | None = None) -> bool:
        """Return whether `handle`, which would enter at `entry` by itself, does not; it enters elsewhere then.

        `behind_least`: if it is the answer of a thread, how many handles it comes behind if it enters at once.
        """
        key = self._judge.key_of(handle)
        if key is None or key not in self._keys or handle.cancelled() or self._judge.kind_of(handle) is None:
            return False
        self._keys.discard(key)
        if key in self._raise:
            self._fail(handle, self._make_error(self._raise.pop(key).error))
        if self._slow.pop(key, None):
            self._outlasting.append(handle)
        elif late := self._late.get(key):
            place, behind = entry - 1 + 2 * late.by, late.behind
            if behind is None:
                self.outside.append((place, 0, handle))
            elif behind_least is not None and (late.by > 0 or behind_least < sys.maxsize):  # it can enter there
                self._enters_queue = True
                behind = behind if late.by else max(behind, behind_least)
                self.outside.append((place // PLACES * PLACES + QUEUE, behind, handle))
            else:
                return False
            del self._late[key]
        else:
            return False
        return True

    def _fail(self, handle: Any, error: BaseException) -> None:
        task = stepping_task(handle._callback)
        if task is not None:
            task._explorer_actor.error = error
        else:
            handle.fail(error)

    def enter_queue(self, queue: "deque[Any]", iteration: int) -> None:
        """Put into the queue of `iteration` what enters in it."""
        if not self._enters_queue:
            return  # as mostly
        last = iteration * PLACES + QUEUE
        entering = [each for each in self.outside if each[0] <= last]
        self.outside = [each for each in self.outside if each[0] > last]
        if self.cancelling and self.cancelling[0][0] % PLACES == QUEUE and self.cancelling[0][0] <= last:
            entering.append(self.cancelling.pop())
        least = 0
        for _, behind, handle in sorted(entering, key=_behind):
            index = max(_index_behind(queue, behind), least)
            queue.insert(index, handle)
            least = index + 1

    def entering(self, place: int) -> list[asyncio.Handle]:
        """What enters at `place`, in the order in which it was made late; cancellations last."""
        entering: list[asyncio.Handle] = []
        if self.outside:
            entering += [handle for when, _, handle in self.outside if when <= place]
            self.outside = [each for each in self.outside if each[0] > place]
        if self.cancelling:
            entering += [handle for when, _, handle in self.cancelling if when <= place]
            self.cancelling = [each for each in self.cancelling if each[0] > place]
        return entering

    @property
    def first_iteration(self) -> int | None:
        """The iteration in which the first of what is late enters, None if nothing is."""
        return min(map(_entry, self.outside)) // PLACES if self.outside else None

    def let_go_on(self, iteration: int) -> bool:
        """Nothing can go on, and no timer is set: what waits for a timer, or for its place, enters in `iteration`."""
        self.a_timer_fired(iteration)
        place = iteration * PLACES + BEFORE
        self.outside += [(place, 0, handle) for _, _, handle in self.cancelling]
        self.cancelling.clear()
        return bool(self.outside)

    def a_timer_fired(self, iteration: int) -> None:
        """What outlasts the next timer enters in `iteration`."""
        if self._outlasting:
            place = iteration * PLACES + BEFORE
            self.outside += [(place, 0, handle) for handle in self._outlasting]
            self._outlasting.clear()

    def cancel_at_wakeup(self, batch: Iterable[Any]) -> None:
        """Cancel the task that is about to take the step before which it is to be cancelled."""
        for handle in batch:
            task = stepping_task(handle._callback)
            key = None if task is None or handle.cancelled() else self._judge.key_of(handle)
            if key in self.cancellations and self.cancellations[key].after is None:
                del self.cancellations[key]
                self.has_cancelled = True
                with suppress(RecursionError):  # it waits for itself
                    task.cancel()

    def cancel_while_suspended(self, tasks: Iterable[Any], iteration: int, loop: asyncio.AbstractEventLoop) -> None:
        """Let the cancellation come from outside, so many places after its task has suspended."""
        for task in tasks:
            key = (task._explorer_actor.name, task._explorer_actor.step)
            cancel = self.cancellations.get(key)
            if cancel is not None and cancel.after is not None and not task.done():
                del self.cancellations[key]
                place, now = iteration * PLACES + BEFORE + 2 * cancel.after, loop.time()
                handle = Arrival(f"{key[0]}:cancel", 0, None, now, self._cancel_now, (task, key[1]), loop, None)
                if cancel.behind is not None:
                    self._enters_queue = True
                    place = place // PLACES * PLACES + QUEUE
                self.cancelling.append((place, cancel.behind or 0, handle))

    def _cancel_now(self, task: Any, step: int) -> None:
        with suppress(RecursionError):  # it waits for itself
            if task._explorer_actor.step == step and task.cancel():
                self.has_cancelled = True


def _index_behind(queue: "deque[Any]", count: int) -> int:
    """The index in `queue` behind `count` handles that run."""
    for index, handle in enumerate(queue):
        if not count:
            return index
        count -= not handle.cancelled()
    return len(queue)
