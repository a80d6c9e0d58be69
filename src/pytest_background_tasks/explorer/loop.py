"""The loop that plays one schedule and records what happened.

How it works. It keeps asyncio's own queue: what is ready when an iteration begins runs in that iteration, first in,
first out; due timers enter behind what was queued already. The empty schedule is therefore asyncio's order, step for
step. There is no selector: time is virtual and jumps when nothing can run. A `Plan` takes what is late out of the queue
and says when it enters. Time stands still for lateness: it only jumps when nothing is late.

Timers that are due at one moment fire in the order in which they were set, as on a real loop, whose clock ticks in
between.

Private names of CPython used here: ``_run_once`` and what it works with, ``_ready``, ``_stopping``,
``_closed``, ``_check_closed``, ``_debug``, ``_asyncgens``, ``_task_factory`` of a loop; ``_callback``, ``_args``,
``_context`` and ``_cancelled`` of a handle; ``_must_cancel`` of a task.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from typing import Any

from ..grid import on_grid
from ..handles import QuickHandle
from . import debug
from .actors import Actor, Names
from .arrivals import (
    ARRIVALS,
    Arrival,
    StepCallback,
    ThreadCall,
    delivered,
    ends_sleep,
    kind_of_step,
    label_of,
    stepping_task,
)
from .options import Options
from .plan import Plan
from .schedule import Deviation, Schedule
from .tasks import LoopOfPlayedTasks, PlayedFuture, PlayedTask
from .thread_calls import ThreadCalls
from .threads import HelperThread
from .trace import AFTER, ARRIVING, BEFORE, PLACES, QUEUE, Trace


class PlayedLoop(LoopOfPlayedTasks, ThreadCalls):
    """A loop for one run.

    Args:
        schedule: what differs from asyncio's own order.
        options: which arrivals may be late, whose code counts, and so on.
        helper: runs what is sent to threads.

    Attributes:
        watches_itself: that it notices when nothing can go on; who else watches loops leaves it alone.
        tasks: all that were created.
        is_stuck: nothing could go on.
        is_endless: it took more steps than may be.
        has_generators: an asynchronous generator was started.
        failed_callbacks: those that have raised unseen, by what they are called in a trace, each with its error.
    """

    watches_itself = True
    is_stuck: bool = False
    is_endless: bool = False
    has_generators: bool = False
    failed_callbacks: tuple[tuple[str, BaseException], ...] = ()
    _playing: PlayedTask | None = None
    _is_last: bool = False  # the iteration behind the one in which the scenario has ended, as with asyncio.run
    _closed: bool
    _debug: bool
    _ready: deque[Any]
    _stopping: bool

    def __init__(self, schedule: Schedule, options: Options, helper: HelperThread) -> None:
        super().__init__()  # with 30 attributes or more, CPython 3.11 looks each up in a dict; these have 28
        self._closed, self._debug = False, options.is_debug  # asked for with each handle, so no attributes of the class
        self._options = options
        self._helper = helper
        self._home = threading.get_ident()
        self._names = Names(options.counting)
        # What each batch of handles is judged by: read at once, since there are many.
        self._judging = (options.arrivals, "any" in options.arrivals, options.is_own, self._names.scenario)
        self._plan = Plan(schedule, self, self._names.actors, options.error) if schedule else None
        self._deviating = self._plan  # None when nothing can deviate any more
        self._actor: Actor | None = None  # who runs, if it is a task
        self._who = ""  # and if it is a callback
        self._now = options.began
        self._since = 0.0  # in seconds since the run began, as a trace has it
        # Tasks have numbers of their own: the order of a set of them must not depend on what else was created.
        self._task_numbers = count(1)
        self._numbers = count(1)
        self._iteration = 0
        self._timers: list[tuple[float, int, Arrival]] = []
        self._arrived: list[Arrival | ThreadCall] = []
        self._rows: list[tuple[Any, ...]] = []
        self._disturbed: set[int] = set()
        self.tasks: list[asyncio.Task[Any]] = []

    def play(self, coroutine: Any) -> PlayedTask:
        """Run `coroutine`, the scenario, until it ends or cannot go on; returns its task."""
        task = PlayedTask(next(self._task_numbers), self._names.scenario, coroutine, self)
        self.tasks.append(task)
        self._playing = task
        self._helper.foreign.begin()
        self.run_forever()
        self._playing, self._is_last = None, False
        return task

    def trace(self) -> Trace:
        """What happened so far."""
        cancellable = frozenset(self._cancellable()) if self._options.cancel else frozenset()
        siblings, disturbed = frozenset(self._names.siblings), frozenset(self._disturbed)
        return Trace(tuple(self._rows), cancellable, siblings, disturbed, self._answers)

    def close(self) -> None:
        """As asyncio's; at once garbage, which need not wait for the collector."""
        self._plan = self._deviating = None  # it knows the loop
        super().close()

    @property
    def unused(self) -> tuple[Deviation, ...]:
        """The deviations of the schedule whose step never came."""
        return () if self._plan is None else self._plan.unused

    @property
    def has_cancelled(self) -> bool:
        """Whether the schedule's cancellation took place."""
        return self._plan is not None and self._plan.has_cancelled

    def _cancellable(self) -> list[str]:
        # Of a task that this loop has not made, such as a captured one, nobody knows who started it: the scenario's.
        scenario, starters = self._names.scenario, (self._names.scenario, self._names.unknown)
        is_target = self._options.is_target
        return [
            actor.name
            for actor in (self._actor_of(task) for task in tuple(self.tasks))
            if actor is not scenario and is_target(actor.name, actor.function, actor.code, actor.creator in starters)
        ]

    # What the program asks of a loop.

    def time(self) -> float:
        """Virtual seconds, on from the real clock's at the start of the exploration."""
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback; as asyncio's."""
        if self._closed:
            self._check_closed()  # type: ignore[attr-defined]
        handle = (debug.checked_handle if self._debug else QuickHandle)(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer for a virtual time, in seconds."""
        if when is None or self._closed or self._debug:  # type: ignore[redundant-expr]
            debug.check_timer(self, when, callback)
        when, actor = on_grid(when), self._running()
        if callback is ends_sleep and actor.answered != actor.step:
            actor.answered = step = actor.step
            timer = Arrival(actor.name, step, "sleep", when, callback, args, self, context)
        else:
            timer = Arrival(self._names.part(actor, "timer"), 0, "timer", when, callback, args, self, context)
        heappush(self._timers, (when, next(self._numbers), timer))
        return debug.without_our_frames(timer) if self._debug else timer

    def create_future(self) -> Any:
        """A future that hashes by the order of creation."""
        future = PlayedFuture(next(self._numbers), self)
        return debug.without_our_frames(future) if self._debug else future

    def _asyncgen_firstiter_hook(self, agen: Any) -> None:
        """As asyncio's; from now on there may be something to close."""
        self.has_generators = True
        super()._asyncgen_firstiter_hook(agen)  # type: ignore[misc]  # a private name, which typeshed does not have

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Close an abandoned generator in the loop's own order: it is no thread that asks for it."""
        self._asyncgens.discard(agen)  # type: ignore[attr-defined]
        if self.is_running():  # else what is left over is being closed
            self.call_soon(close_abandoned_generator, self, agen)

    # One iteration.

    def _run_once(self) -> None:
        if self._names.unnamed:
            self._names.settle()
        plan = self._deviating
        if plan is not None and not plan.is_idle():
            for zone, size in enumerate(self._let_in_deviating(plan)):
                if size:
                    self._run_handles(size, self._iteration * PLACES + zone)
        else:
            queued = len(self._ready)
            if not queued and not self._arrived:
                self._jump()
            if self._arrived or (self._timers and self._timers[0][0] <= self._now):
                self._let_arrive()
            arriving, entry = len(self._ready) - queued, self._iteration * PLACES
            if queued:
                self._run_handles(queued, entry + QUEUE)
            if arriving:
                self._run_handles(arriving, entry + ARRIVING)
        self._iteration += 1
        if self._playing is not None and self._playing.done():
            self._stopping, self._is_last = self._stopping or self._is_last, True

    def _let_in_deviating(self, plan: Plan) -> tuple[int, ...]:
        """Queue what enters in this iteration while something may be late; returns how many handles in each zone."""
        ready = self._ready
        queue = tuple(ready) if self._arrived else ()
        if plan.take_out(ready, self._iteration):
            self._disturbed.add(self._iteration)
        if self._arrived:
            self._note_answers(queue)
            self._arrived = plan.staying(self._arrived, self._iteration, self._answers)
        if plan.cancellations:
            plan.cancel_while_suspended(self.tasks, self._iteration, self)
        if not (ready or self._arrived or self._is_last or self._is_timer_due()):
            self._let_pass(plan)
        entry = self._iteration * PLACES
        before = queued = len(ready)
        if plan.outside or plan.cancelling:
            plan.enter_queue(ready, self._iteration)
            queued = len(ready)
            ready += plan.entering(entry + BEFORE)
            before = len(ready)
        if self._arrived or (self._timers and self._timers[0][0] <= self._now):
            self._let_arrive()
        after = arrived = len(ready)
        if plan.outside or plan.cancelling:
            ready += plan.entering(entry + AFTER)
            after = len(ready)
        if plan.cancellations:
            plan.cancel_at_wakeup(ready)
        if after > queued and plan.is_over():
            self._deviating = None
        return queued, before - queued, arrived - before, after - arrived

    def _let_pass(self, plan: Plan) -> None:
        """Nothing can run now: let the first of what is late enter, or else time pass."""
        if (first := plan.first_iteration) is None:
            self._jump()
        else:
            self._iteration = max(first, self._iteration)

    def _let_arrive(self) -> None:
        """Queue what threads have answered, and the timers that are due."""
        if self._arrived:
            self._note_answers(self._ready)
        arriving, self._arrived = self._arrived, []
        timers, now = self._timers, self._now
        while timers and timers[0][0] <= now:
            if not (timer := heappop(timers)[2])._cancelled:
                arriving.append(timer)
        if not arriving:
            return
        if (plan := self._deviating) is not None:
            entry = self._iteration * PLACES + ARRIVING
            arriving = [handle for handle in arriving if not plan.keeps(handle, entry)]
            if any(handle.kind != "thread" for handle in arriving):
                plan.a_timer_fired(self._iteration + 1)
        self._ready.extend(arriving)

    def _is_timer_due(self) -> bool:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heappop(timers)
        return bool(timers) and timers[0][0] <= self._now

    def _jump(self) -> None:
        """Nothing can run now: let time go on to the next timer."""
        if self._is_last or self._is_timer_due() or self._is_held_by_threads():
            return
        if self._timers:
            self._now = self._timers[0][0]
            self._since = int((self._now - self._options.began) * 1e9 + 0.5) / 1e9  # `round` takes long
        elif self._deviating is None or not self._deviating.let_go_on(self._iteration):
            self.is_stuck = self._stopping = True

    def _run_handles(self, size: int, entry: int) -> None:
        """Run the first `size` handles of the queue, which entered at `entry`."""
        ready, record, now = self._ready, self._rows.append, self._since
        arrivals, is_any, is_own, scenario = self._judging
        waiting = len(ready)
        for _ in range(size):
            handle = ready.popleft()
            waiting -= 1
            if handle._cancelled:
                self._disturbed.add(entry // PLACES)
                continue
            callback, arguments = handle._callback, handle._args
            number, got, kind = 0, "call", None
            is_step = type(callback) is StepCallback
            if (task := callback.__self__ if is_step else stepping_task(callback)) is not None:
                actor = self._actor = task._explorer_actor if type(task) is PlayedTask else self._actor_of(task)
                who, number = actor.name, actor.step
                is_plain = not arguments and actor.error is None and not task._must_cancel
                got = "value" if is_plain else delivered(task, actor, arguments)
                if is_step or is_any:
                    kind = kind_of_step(actor, task, is_step, arrivals, is_own, scenario)
                actor.step = number + 1
            elif type(handle) in ARRIVALS:
                who, number = handle.who, handle.number
                kind = handle.kind if handle.kind in arrivals else None
                self._actor, self._who = None, who
            else:
                who = label_of(callback)
                self._actor, self._who = None, who
            try:
                if arguments:
                    handle._context.run(callback, *arguments)
                else:
                    handle._context.run(callback)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # as a handle's own _run, which costs a call more
                self._callback_failed(handle, error)
            before, waiting = waiting, len(ready)
            record((who, number, got, now, kind, entry, waiting - before, None))
        if len(self._rows) >= self._options.max_steps:
            self.is_endless = self._stopping = True

    def _callback_failed(self, handle: Any, error: BaseException) -> None:
        label = label_of(handle._callback)
        context = {"message": f"Exception in callback {label}", "exception": error, "handle": handle}
        if self.get_exception_handler() is not None:
            self.call_exception_handler(context)
        else:  # what nobody has looked at is a failure of the run, so nobody else need hear of it
            self.failed_callbacks += ((label, error),)
            self.default_exception_handler(context)

    # Who runs.

    def _running(self) -> Actor:
        """Who is running: the task, or the callback."""
        task = asyncio.current_task(self) if threading.get_ident() == self._home else None
        actor = self._actor if task is None else self._actor_of(task)
        if actor is None:
            return self._names.callback(self._who)
        if not actor.name:  # an eager task, which runs while it is created
            self._names.settle()
        return actor

    def _actor_of(self, task: Any) -> Actor:
        """The actor that `task` is; of one that was not made by this loop, nobody knows who started it."""
        try:
            actor: Actor = task._explorer_actor
        except AttributeError:
            actor = task._explorer_actor = self._names.new(self._names.unknown, task.get_coro())
            self._names.settle()
            self.tasks.append(task)
        return actor

    def key_of(self, handle: Any) -> tuple[str, int] | None:
        """What a deviation names: the task and the step that `handle` makes ready."""
        callback = handle._callback
        is_step = type(callback) is StepCallback
        task = callback.__self__ if is_step else stepping_task(callback)
        if task is None:
            return (handle.who, handle.number) if type(handle) in ARRIVALS else None
        actor = task._explorer_actor if type(task) is PlayedTask else self._actor_of(task)
        return actor.name, actor.step

    def kind_of(self, handle: Any) -> str | None:
        """The kind of arrival that `handle` is, None if it is none of those that may be late."""
        arrivals, _, is_own, scenario = self._judging
        if type(handle) in ARRIVALS:
            return handle.kind if handle.kind in arrivals else None
        task = stepping_task(handle._callback)
        is_step = type(handle._callback) is StepCallback
        return kind_of_step(self._actor_of(task), task, is_step, arrivals, is_own, scenario)


def close_abandoned_generator(loop: PlayedLoop, agen: Any) -> None:
    """Start the task that closes an asynchronous generator; the trace has it by this name."""
    loop.create_task(agen.aclose())
