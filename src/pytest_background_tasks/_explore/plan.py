"""The deviations of one schedule, as they take effect during a run.

A delayed handle leaves the queue, or does not enter it, and waits outside until its entry place. An entry place is at
the start of an iteration, behind all handles queued already: before or after the arrivals of that iteration. The answer
of a thread may also enter inside the queue, because a real thread appends to it while a batch of handles runs.

Private names of CPython used here: ``_callback`` of a handle.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import Any, Protocol

from .arrivals import Arrival, stepping_task
from .durations import may_overtake
from .schedule import Cancel, Delay, Deviation, NetworkFault, Raise, Schedule, Slow, canonical
from .task_names import TaskIdentity
from .trace import ARRIVING, BEFORE, PLACES, QUEUE

_Key = tuple[str, int]
_LONGEST = 100  # number of iterations after which a timer fires although a task polls
_entry, _behind = itemgetter(0), itemgetter(1)  # of an element of `outside`

TIMERS = frozenset({"sleep", "timer"})
"""The kinds of arrival for which time has passed."""


class HandleInfo(Protocol):
    """The questions about handles that a plan asks the loop."""

    def key_of(self, handle: Any) -> _Key | None:
        """Return the task and the step that `handle` makes ready; None if it makes no task ready."""

    def kind_of(self, handle: Any) -> str | None:
        """Return the kind of arrival of `handle`; None if it may not be delayed."""


class Plan:
    """The deviations of a run: those still to come, and those in progress.

    Args:
        schedule: the schedule to run.
        judge: the loop, which knows the task of each handle and which handles may be delayed.
        actors: the named tasks, by name.
        make_error: returns an exception for the name of its class.

    Attributes:
        cancellations: the cancellations still to come.
        outside: the delayed handles, each with its entry place and the number of handles it comes behind in a queue.
        cancelling: the cancellation in progress, in the same form as ``outside``.
        has_cancelled: True if the cancellation took place.
        outlasted_at: the last moment, in virtual time, at which a timer fired before an answer, or right behind it,
            because of a deviation; None before.
        passed: the number of moments for which time has passed while a handle was delayed.
        early_timer: the iteration in which the next timer fires, although the loop is not idle; None if there is none.
    """

    def __init__(
        self,
        schedule: Schedule,
        judge: HandleInfo,
        actors: Mapping[str, TaskIdentity],
        make_error: Callable[[str], BaseException],
    ) -> None:
        self._judge = judge
        self._actors = actors
        self._make_error = make_error
        self._late: dict[_Key, Delay] = {}
        self._slow: dict[_Key, Slow] = {}
        self._raise: dict[_Key, Raise] = {}
        self._network: dict[_Key, NetworkFault] = {}
        self.cancellations: dict[_Key, Cancel] = {}
        self._keys: set[_Key] = set()
        self._prepare(schedule)
        self._enters_queue = False
        self.outside: list[tuple[int, int, asyncio.Handle]] = []
        self._outlasting: list[asyncio.Handle] = []
        self.cancelling: list[tuple[int, int, asyncio.Handle]] = []
        self.has_cancelled: bool = False
        self.outlasted_at: float | None = None
        self.passed: int = 0
        self.early_timer: int | None = None

    def _prepare(self, schedule: Schedule) -> None:
        kinds: dict[type, dict[_Key, Any]] = {
            Delay: self._late,
            Slow: self._slow,
            Raise: self._raise,
            NetworkFault: self._network,
            Cancel: self.cancellations,
        }
        for deviation in schedule:
            kinds[type(deviation)][canonical(deviation.task), deviation.step] = deviation
        self._keys.update(self._late, self._slow, self._raise, self._network)

    def is_idle(self) -> bool:
        """Return True if no deviation can take effect in this iteration, except for a new arrival."""
        is_under_way = self.outside or self._outlasting or self.cancelling or self.cancellations
        return not (is_under_way or self.early_timer is not None or self._may_be_ready())

    def is_over(self) -> bool:
        """Return True if no deviation is left."""
        is_under_way = self.outside or self._outlasting or self.cancelling or self.early_timer is not None
        return not (is_under_way or self._has_unused())

    @property
    def unused(self) -> tuple[Deviation, ...]:
        """The deviations whose step never ran."""
        if not self._has_unused():
            return ()
        kinds: Iterable[Mapping[_Key, Deviation]] = (
            self._late,
            self._slow,
            self._raise,
            self._network,
            self.cancellations,
        )
        return tuple(sorted((deviation for kind in kinds for deviation in kind.values()), key=str))

    def _has_unused(self) -> bool:
        return bool(self._late or self._slow or self._raise or self._network or self.cancellations)

    def refuses(self, name: str) -> bool:
        """Return True if a connection is to be refused; `name` is the name of what would arrive first at the client."""
        fault = self._network.get((name, 0))
        if fault is None or fault.fault != "refused":
            return False
        del self._network[name, 0]
        return True

    def take_out(self, queue: "deque[Any]", iteration: int) -> bool:
        """Remove delayed handles from the queue of `iteration`; return True if there were any."""
        if not self._may_be_ready():
            return False
        keys, key_of, entry = self._keys, self._judge.key_of, iteration * PLACES
        staying = [handle for handle in queue if key_of(handle) not in keys or not self.intercepts(handle, entry)]
        if len(staying) == len(queue):
            return False
        queue.clear()
        queue.extend(staying)
        return True

    def _may_be_ready(self) -> bool:
        """Return True if a step with a deviation may be ready. A cheap check, and False most of the time."""
        for name, step in self._keys:
            actor = self._actors.get(name)
            if actor is None or actor.step == step:
                return True
        return False

    def staying(self, answers: Iterable[Any], iteration: int, behind_least: dict[_Key, int]) -> list[Any]:
        """Return the `answers` of threads that arrive undelayed in `iteration`.

        Calls that a function has sent to the loop come before the function's own answer.
        """
        baseline, staying = (iteration * PLACES + ARRIVING, 0), []
        places: dict[int, tuple[int, int]] = {}
        for answer in answers:
            key, after = (answer.who, answer.number), places.get(id(answer.asked_behind))
            if after is not None:
                behind_least[key] = after[1] + 1 if after[0] == iteration * PLACES + QUEUE else sys.maxsize
            count = len(self.outside)
            is_intercepted = self.intercepts(answer, baseline[0], behind_least[key])
            place = self.outside.pop()[:2] if len(self.outside) > count else baseline
            place = max(place, after or place)
            if place != baseline:
                self.outside.append((*place, answer))
            elif not is_intercepted:
                staying.append(answer)
            places[id(answer)] = place
        return staying

    def intercepts(self, handle: Any, entry: int, behind_least: int | None = None) -> bool:
        """Return True if `handle`, which would enter at `entry`, is delayed or slow; it enters elsewhere then.

        `behind_least`: for the result of a thread, the number of handles it comes behind if it enters at once.
        """
        key = self._judge.key_of(handle)
        if key is None or key not in self._keys or handle.cancelled() or self._judge.kind_of(handle) is None:
            return False
        self._keys.discard(key)
        if key in self._raise:
            self._fail(handle, self._make_error(self._raise.pop(key).error))
        if (fault := self._network.get(key)) is not None and handle.inject(fault):
            del self._network[key]
        slow = self._slow.pop(key, None)
        if slow is not None:
            after = _LONGEST if slow.timer_after is None else slow.timer_after
            self.early_timer = entry // PLACES + after
        if slow is not None and slow.timer_after is None:
            self._outlasting.append(handle)
        elif late := self._late.get(key):
            place, behind = entry - 1 + 2 * late.by, late.behind
            if behind is None:
                self.outside.append((place, 0, handle))
            elif behind_least is not None and (late.by > 0 or behind_least < sys.maxsize):  # it can enter in the queue
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
        """Insert the handles that enter inside the queue of `iteration`."""
        if not self._enters_queue:
            return  # the usual case
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

    def entering(self, place: int, now: float) -> list[asyncio.Handle]:
        """Return the handles that enter at `place`, in the order in which they were delayed; cancellations last."""
        entering: list[asyncio.Handle] = []
        if self.outside:
            entering += [handle for when, _, handle in self.outside if when <= place]
            self.outside = [each for each in self.outside if each[0] > place]
            if any(type(handle) is Arrival and handle.kind in TIMERS for handle in entering):
                self.on_timer(place // PLACES + 1, now)
        if self.cancelling:
            entering += [handle for when, _, handle in self.cancelling if when <= place]
            self.cancelling = [each for each in self.cancelling if each[0] > place]
        return entering

    def lets_fire(self, timer: Arrival, now: float) -> bool:
        """Return True if `timer` may fire before all handles that are delayed or slow."""
        if self._outlasting and timer.is_of_test:
            return False
        kind_of, passed = self._judge.kind_of, self.passed
        return all(may_overtake(timer, handle, kind_of(handle), now, passed) for _, _, handle in self.outside)

    def is_timer_early(self, iteration: int) -> bool:
        """Return True if the next timer fires in `iteration`, although the loop is not idle."""
        return self.early_timer is not None and self.early_timer <= iteration

    def note_passing(self, now: float) -> None:
        """Take note that time passes until `now`, because no handle can run."""
        self.early_timer = None
        if self.outside:
            self.passed += 1
            if any(self._judge.kind_of(handle) == "answer" for _, _, handle in self.outside):
                self.outlasted_at = now

    @property
    def first_iteration(self) -> int | None:
        """The iteration in which the first delayed handle enters; None if no handle is delayed."""
        return min(map(_entry, self.outside)) // PLACES if self.outside else None

    def is_entering(self, iteration: int) -> bool:
        """Return True if a delayed handle enters in `iteration` before the arrivals."""
        last = iteration * PLACES + BEFORE
        return any(place <= last for place, _, _ in self.outside)

    def release_all(self, iteration: int) -> bool:
        """Let slow results and cancellations enter in `iteration`, because the loop is idle and has no timer.

        Return True if a handle enters.
        """
        self.release_slow(iteration)
        place = iteration * PLACES + BEFORE
        self.outside += [(place, 0, handle) for _, _, handle in self.cancelling]
        self.cancelling.clear()
        return bool(self.outside)

    def on_timer(self, iteration: int, now: float) -> None:
        """Let the answers that outlast the timer that fires now enter in `iteration`."""
        if self._outlasting:
            self.outlasted_at = now
        self.release_slow(iteration)

    def release_slow(self, iteration: int) -> None:
        """Let slow results enter in `iteration`."""
        if not self._outlasting:
            return
        self.early_timer = None
        place = iteration * PLACES + BEFORE
        self.outside += [(place, 0, handle) for handle in self._outlasting]
        self._outlasting.clear()

    def cancel_at_wakeup(self, batch: Iterable[Any]) -> None:
        """Cancel the task whose next step is in `batch`, if it is to be cancelled before that step."""
        for handle in batch:
            task = stepping_task(handle._callback)
            key = None if task is None or handle.cancelled() else self._judge.key_of(handle)
            if key in self.cancellations and self.cancellations[key].after is None:
                del self.cancellations[key]
                self.has_cancelled = True
                with suppress(RecursionError):  # the task waits for itself
                    task.cancel()

    def cancel_while_suspended(self, tasks: Iterable[Any], iteration: int, loop: asyncio.AbstractEventLoop) -> None:
        """Schedule the external cancellation, ``after`` places behind the suspension of its task."""
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
        with suppress(RecursionError):  # the task waits for itself
            if task._explorer_actor.step == step and task.cancel():
                self.has_cancelled = True


def _index_behind(queue: "deque[Any]", count: int) -> int:
    """Return the index in `queue` behind `count` handles that are not cancelled."""
    for index, handle in enumerate(queue):
        if not count:
            return index
        count -= not handle.cancelled()
    return len(queue)
