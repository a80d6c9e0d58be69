"""The deviations of one schedule as they come into effect during a run.

What is late leaves the queue, or is kept from it, and waits outside until the place at which it enters. A place is the
start of an iteration, behind everything already queued: before or after what arrives there by itself.

Private names of CPython used here: ``_callback`` of a handle.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from .actors import Actor
from .arrivals import Arrival, stepping_task
from .schedule import Cancel, Deviation, Late, Raise, Schedule, Slow, canonical
from .trace import BEFORE, PLACES

_Key = tuple[str, int]


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
        self._outside: list[tuple[int, asyncio.Handle]] = []
        self._outlasting: list[asyncio.Handle] = []
        self._cancelling: list[tuple[int, asyncio.Handle]] = []
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
        is_under_way = self._outside or self._outlasting or self._cancelling or self.cancellations
        return not (is_under_way or self._may_be_ready())

    def is_over(self) -> bool:
        """Whether nothing can deviate any more."""
        return not (self._outside or self._outlasting or self._cancelling or self._has_unused())

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
        staying = [handle for handle in queue if not self.keeps(handle, iteration * PLACES)]
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

    def keeps(self, handle: asyncio.Handle, entry: int) -> bool:
        """Whether `handle`, which would enter at `entry` by itself, does not; it enters later then."""
        key = self._judge.key_of(handle)
        if key is None or key not in self._keys or handle.cancelled() or self._judge.kind_of(handle) is None:
            return False
        self._keys.discard(key)
        if key in self._raise:
            self._fail(handle, self._make_error(self._raise.pop(key).error))
        if self._slow.pop(key, None):
            self._outlasting.append(handle)
        elif late := self._late.pop(key, None):
            self._outside.append((entry - 1 + 2 * late.by, handle))
        else:
            return False
        return True

    def _fail(self, handle: Any, error: BaseException) -> None:
        task = stepping_task(handle._callback)
        if task is not None:
            task._explorer_actor.error = error
        else:
            handle.fail(error)

    def entering(self, place: int) -> list[asyncio.Handle]:
        """What enters at `place`, in the order in which it was made late; cancellations last."""
        entering: list[asyncio.Handle] = []
        if self._outside:
            entering += [handle for when, handle in self._outside if when <= place]
            self._outside = [each for each in self._outside if each[0] > place]
        if self._cancelling:
            entering += [handle for when, handle in self._cancelling if when <= place]
            self._cancelling = [each for each in self._cancelling if each[0] > place]
        return entering

    @property
    def first_iteration(self) -> int | None:
        """The iteration in which the first of what is late enters, None if nothing is."""
        return min(place for place, _ in self._outside) // PLACES if self._outside else None

    def let_go_on(self, iteration: int) -> bool:
        """Nothing can go on, and no timer is set: what waits for a timer, or for its place, enters in `iteration`."""
        self.a_timer_fired(iteration)
        place = iteration * PLACES + BEFORE
        self._outside += [(place, handle) for _, handle in self._cancelling]
        self._cancelling.clear()
        return bool(self._outside)

    def a_timer_fired(self, iteration: int) -> None:
        """What outlasts the next timer enters in `iteration`."""
        if self._outlasting:
            place = iteration * PLACES + BEFORE
            self._outside += [(place, handle) for handle in self._outlasting]
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
                self._cancelling.append((place, handle))

    def _cancel_now(self, task: Any, step: int) -> None:
        with suppress(RecursionError):  # it waits for itself
            if task._explorer_actor.step == step and task.cancel():
                self.has_cancelled = True
