"""The event loop that runs one schedule and records a trace.

Theory of operation. The loop keeps asyncio's own queue: the handles that are ready when an iteration begins run in that
iteration, first in, first out; due timers enter behind the handles that were queued already. The empty schedule is
therefore asyncio's order, step for step. Files are only asked whether they are ready: time is virtual and jumps when
the loop is idle. A `Plan` takes delayed handles out of the queue and decides when they enter. Time stands still while a
handle is delayed.

Private names of CPython used here: ``_run_once`` and what it works with, ``_ready``, ``_stopping``,
``_closed``, ``_check_closed``, ``_debug``, ``_asyncgens``, ``_task_factory`` of a loop; ``_callback``, ``_args``,
``_context`` and ``_cancelled`` of a handle; ``_must_cancel`` of a task.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from itertools import count
from typing import Any

from .._asyncio.handles import QuickHandle
from . import debug_mode
from .arrivals import (
    ARRIVALS,
    Arrival,
    StepCallback,
    ThreadCall,
    delivered,
    kind_of_step,
    label_of,
    stepping_task,
)
from .helper_thread import HelperThread
from .network_of_loop import NetworkOfLoop
from .options import Options
from .pauses import Pauses
from .phases import NO_KINDS, PhasesOfLoop
from .plan import TIMERS, Plan
from .schedule import Deviation, Schedule
from .task_names import TaskIdentity, TaskNames
from .tasks import ControlledFuture, ControlledTask, LoopOfControlledTasks
from .thread_results import ThreadCalls
from .timers import TimersOfLoop
from .trace import AFTER, ARRIVING, BEFORE, PLACES, QUEUE, Trace


class ControlledLoop(LoopOfControlledTasks, NetworkOfLoop, ThreadCalls, TimersOfLoop, PhasesOfLoop):
    """An event loop of one run.

    Until `begin_main` it runs in asyncio's default order: fixtures are set up on it. From then on the schedule applies.

    Args:
        schedule: the deviations from asyncio's default order.
        options: the options of the exploration.
        helper: runs the functions that the program sends to threads.

    Attributes:
        detects_deadlocks: True: the loop detects deadlocks itself, and other detectors ignore it.
        tasks: all tasks created on the loop.
        is_stuck: True after a deadlock.
        is_endless: True after more than ``max_steps`` steps.
        has_generators: True if an asynchronous generator was started.
        failed_callbacks: callbacks whose exceptions were never retrieved, each by its name in a trace, with its error.
    """

    detects_deadlocks = True
    is_stuck: bool = False
    is_endless: bool = False
    has_generators: bool = False
    failed_callbacks: tuple[tuple[str, BaseException], ...] = ()
    _closed: bool
    _debug: bool
    _ready: deque[Any]
    _stopping: bool

    def __init__(self, schedule: Schedule, options: Options, helper: HelperThread) -> None:
        super().__init__()  # CPython 3.11 uses a slower lookup for 30 attributes or more; this loop has 29
        self._closed, self._debug = False, options.is_debug  # read for each handle, so set on the instance
        self._options = options
        self._helper = helper
        self._home = threading.get_ident()
        self._names = TaskNames(options.counting)
        # Read in one go for each batch of handles, because there are many batches.
        self._judging = (NO_KINDS, False, options.is_project_file, self._names.scenario, NO_KINDS)
        self._plan = Plan(schedule, self, self._names.actors, options.faults.error) if schedule else None
        self._deviating: Plan | None = None  # None when no deviation is left
        self._actor: TaskIdentity | None = None  # the running task, if a task is running
        self._who = ""  # the running callback otherwise
        self._now = options.began
        self._since = 0.0  # seconds since the run began, as in a trace
        # Tasks are numbered separately: the order of a set of tasks must not depend on other objects.
        self._task_numbers = count(1)
        self._numbers = count(1)
        self._iteration = 0
        self._timers: list[tuple[float, int, Arrival]] = []
        self._arrived: list[Arrival | ThreadCall] = []
        self._rows: list[tuple[Any, ...]] = []
        self._disturbed: set[int] = set()
        self.tasks: list[asyncio.Task[Any]] = []

    def trace(self) -> Trace:
        """Return the trace so far."""
        cancellable = frozenset(self._cancellable()) if self._options.faults.cancels else frozenset()
        siblings, disturbed = frozenset(self._names.siblings), frozenset(self._disturbed)
        rows = tuple(self._rows)
        if self._replaced_actor is not None:  # the step in which the test begins is recorded as one of the runner
            at = self._replaced_actor[0]
            first = [(self._names.scenario.name, 0, *row[2:]) for row in rows[at : at + 1]]
            rows = (*rows[:at], *first, *rows[at + 1 :])
        faults = self._possible_faults if self._options.faults.network else {}
        return Trace(
            rows, cancellable, siblings, disturbed, self._answers, self._overtakable, faults, tuple(self._withdrawn)
        )

    def close(self) -> None:
        """Close the loop, like asyncio; break reference cycles so that the garbage collector is not needed."""
        self._leave_owner()
        if self._plan is not None:
            self.forget_transports()
        self._plan = self._deviating = None  # it refers to the loop
        super().close()

    @property
    def unused(self) -> tuple[Deviation, ...]:
        """The deviations of the schedule whose step never ran."""
        return () if self._plan is None else self._plan.unused

    @property
    def is_outlasted(self) -> bool:
        """True at the moment at which a timer fires before an answer, or right behind it, because of the schedule."""
        return self._plan is not None and self._plan.outlasted_at == self._now

    @property
    def has_cancelled(self) -> bool:
        """True if the schedule's cancellation took place."""
        return self._plan is not None and self._plan.has_cancelled

    def _cancellable(self) -> list[str]:
        # A task that this loop did not make, such as a captured one, counts as started by the scenario.
        scenario, starters = self._names.scenario, (self._names.scenario, self._names.unknown)
        is_target = self._options.faults.is_target
        return [
            actor.name
            for actor in (self._actor_of(task) for task in tuple(self.tasks))
            if actor is not scenario
            and is_target(
                actor.name,
                actor.function,
                is_started_by_scenario=actor.creator in starters and not actor.is_internal,
            )
        ]

    # The public methods of a loop.

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback, like asyncio."""
        if self._closed:
            self._check_closed()  # type: ignore[attr-defined]
        handle = (debug_mode.checked_handle if self._debug else QuickHandle)(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def create_future(self) -> Any:
        """Return a future that hashes by order of creation."""
        future = ControlledFuture(next(self._numbers), self)
        return debug_mode.without_our_frames(future) if self._debug else future

    def _asyncgen_firstiter_hook(self, agen: Any) -> None:
        """Call asyncio's hook, and note that there may be a generator to close."""
        self.has_generators = True
        super()._asyncgen_firstiter_hook(agen)  # type: ignore[misc]  # a private name, which typeshed does not have

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Close an abandoned generator in the loop's own order: the request does not come from a thread."""
        self._asyncgens.discard(agen)  # type: ignore[attr-defined]
        if self.is_running():  # otherwise the run is being cleaned up
            self.call_soon(close_abandoned_generator, self, agen)

    # One iteration.

    def _run_once(self) -> None:  # noqa: C901  # the hottest function: calls cost more than branches
        if self._names.unnamed:
            self._names.assign()
        plan = self._deviating
        if self._files is not None:
            self._at_files = self._files.arrivals(self._now, self)
        if self._pauses is not None:
            self._hold_pause(self._pauses)
        if plan is not None and not plan.is_idle():
            for zone, size in enumerate(self._let_in_deviating(plan)):
                if size:
                    self._run_handles(size, self._iteration * PLACES + zone)
        else:
            queued = len(self._ready)
            if not (queued or self._arrived or self._at_files):
                self._jump()
            if self._arrived or self._at_files or (self._timers and self._timers[0][0] <= self._now):
                self._let_arrive()
            arriving, entry = len(self._ready) - queued, self._iteration * PLACES
            if queued:
                self._run_handles(queued, entry + QUEUE)
            if arriving:
                self._run_handles(arriving, entry + ARRIVING)
        self._iteration += 1
        if self._playing is not None and self._playing.done():
            self._stopping, self._is_last = self._stopping or self._is_last, True

    def _hold_pause(self, pauses: Pauses) -> None:
        is_delayed = self._deviating is not None and bool(self._deviating.outside)
        timer = None if is_delayed else self._next_timer()
        if timer is not None and pauses.lets_time_pass(self._timers[0][1], timer._when - self._now):
            self._jump()
        if self._plan is not None and self._options.holds_pauses:
            pauses.hold(self._ready, is_idle=not (is_delayed or self._has_arrivals()))

    def _has_arrivals(self) -> bool:
        return bool(self._arrived or self._at_files or self._is_timer_due())

    def _let_in_deviating(self, plan: Plan) -> tuple[int, ...]:
        """Queue the handles that enter while deviations are possible; return the number of handles in each zone."""
        ready = self._ready
        queue = tuple(ready) if self._arrived else ()
        if plan.take_out(ready, self._iteration):
            self._disturbed.add(self._iteration)
        if self._arrived:
            self._note_answers(queue)
            self._arrived = plan.staying(self._arrived, self._iteration, self._answers)
        if plan.cancellations:
            plan.cancel_while_suspended(self.tasks, self._iteration, self)
        if not (ready or self._arrived or self._at_files or self._is_last):
            self._let_pass(plan)
        entry = self._iteration * PLACES
        before = queued = len(ready)
        if plan.outside or plan.cancelling:
            plan.enter_queue(ready, self._iteration)
            queued = len(ready)
            ready += self._entered(plan.entering(entry + BEFORE, self._now))
            before = len(ready)
        is_due = self._timers and self._timers[0][0] <= self._now
        if is_due or self._arrived or self._at_files or plan.early_timer is not None:
            self._let_arrive()
        after = arrived = len(ready)
        if plan.outside or plan.cancelling:
            ready += self._entered(plan.entering(entry + AFTER, self._now))
            after = len(ready)
        if plan.cancellations:
            plan.cancel_at_wakeup(ready)
        if after > queued and plan.is_over():
            self._deviating = None
        return queued, before - queued, arrived - before, after - arrived

    def _let_pass(self, plan: Plan) -> None:
        """Let time pass, or let the first delayed handle enter: no handle can run now, unless a timer is due."""
        timer = self._able_timer(plan)
        if timer is None and self._timers:
            plan.release_slow(self._iteration)
        if timer is not None and not plan.is_entering(self._iteration):
            if timer._when > self._now:
                plan.note_passing(timer._when)
                self._jump()
        elif (first := plan.first_iteration) is None:
            self._jump()
        else:
            self._iteration = max(first, self._iteration)

    def _let_arrive(self) -> None:
        """Queue the results of threads, what has arrived at files, and due timers."""
        if self._arrived:
            self._note_answers(self._ready)
        plan = self._deviating
        if self._at_files and self._options.faults.network:
            self._note_faults(self._at_files)
        arriving: list[Any] = [*self._arrived, *self._at_files, *self._due_timers(plan)]
        self._arrived = []
        self._at_files = ()
        if plan is not None:
            entry = self._iteration * PLACES + ARRIVING
            arriving = [handle for handle in arriving if not self._intercepts(plan, handle, entry)]
            if plan.is_timer_early(self._iteration):
                plan.early_timer = None
                if self._pass_time(plan):
                    plan.outlasted_at = self._now
                else:
                    plan.release_slow(self._iteration + 1)
                arriving += self._due_timers(plan)
            if any(handle.kind in TIMERS for handle in arriving):
                plan.on_timer(self._iteration + 1, self._now)
        self._ready.extend(arriving)

    def _jump(self) -> None:
        """Advance time to the next timer: no handle can run now."""
        if self._is_last or self._is_timer_due() or self._is_held_by_threads() or self._pass_time():
            return
        if self._deviating is None or not self._deviating.release_all(self._iteration):
            self.is_stuck = self._stopping = True

    def _run_handles(self, size: int, entry: int) -> None:  # noqa: C901  # as hot as _run_once
        """Run the first `size` handles of the queue, which entered at `entry`."""
        ready, record, now = self._ready, self._rows.append, self._since
        arrivals, is_any, is_project, scenario, overtakable = self._judging
        waiting = len(ready)
        for _ in range(size):
            handle = ready.popleft()
            waiting -= 1
            if handle._cancelled:
                self._disturbed.add(entry // PLACES)
                if entry % 2 == 0:  # a delayed one also came earlier, in another run
                    self._note_withdrawn(entry)
                continue
            callback, arguments = handle._callback, handle._args
            number, got, kind = 0, "call", None
            is_step = type(callback) is StepCallback
            if (task := callback.__self__ if is_step else stepping_task(callback)) is not None:
                actor = self._actor = task._explorer_actor if type(task) is ControlledTask else self._actor_of(task)
                who, number = actor.name, actor.step
                is_plain = not arguments and actor.error is None and not task._must_cancel
                got = "value" if is_plain else delivered(task, actor, arguments)
                if is_step or is_any:
                    kind = kind_of_step(actor, task, is_step, arrivals, is_project, scenario)
                actor.step = number + 1
            elif type(handle) in ARRIVALS:
                who, number = handle.who, handle.number
                kind = handle.kind if handle.kind in arrivals else None
                self._actor, self._who = None, who
            else:
                who = label_of(callback)
                self._actor, self._who = None, who
            if kind is not None and kind in overtakable:
                self._note_next_timer(handle, who, number, kind)
            try:
                if arguments:
                    handle._context.run(callback, *arguments)
                else:
                    handle._context.run(callback)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # like Handle._run, without the extra call
                self._callback_failed(handle, error)
            before, waiting = waiting, len(ready)
            record((who, number, got, now, kind, entry, waiting - before, None))
        if len(self._rows) >= self._options.max_steps + self.extra_steps:
            self.is_endless = self._stopping = True

    def _callback_failed(self, handle: Any, error: BaseException) -> None:
        label = label_of(handle._callback)
        context = {"message": f"Exception in callback {label}", "exception": error, "handle": handle}
        if self.get_exception_handler() is not None:
            self.call_exception_handler(context)
        else:  # the run will fail with it, so no other report is needed
            self.failed_callbacks += ((label, error),)
            self.default_exception_handler(context)

    # The running task or callback.

    def _running(self) -> TaskIdentity:
        """Return the running actor: a task or a callback."""
        task = asyncio.current_task(self) if threading.get_ident() == self._home else None
        actor = self._actor if task is None else self._actor_of(task)
        if actor is None:
            return self._names.of_callback(self._who)
        if not actor.name:  # an eager task runs during its creation
            self._names.assign()
        return actor

    def _actor_of(self, task: Any) -> TaskIdentity:
        """Return the actor of `task`; if this loop did not make the task, its creator is unknown."""
        try:
            actor: TaskIdentity = task._explorer_actor
        except AttributeError:
            actor = task._explorer_actor = self._names.new(self._names.unknown, task.get_coro())
            self._names.assign()
            self.tasks.append(task)
        return actor

    def key_of(self, handle: Any) -> tuple[str, int] | None:
        """Return the task and the step that `handle` makes ready, which is how a deviation names it."""
        callback = handle._callback
        is_step = type(callback) is StepCallback
        task = callback.__self__ if is_step else stepping_task(callback)
        if task is None:
            return (handle.who, handle.number) if type(handle) in ARRIVALS else None
        actor = task._explorer_actor if type(task) is ControlledTask else self._actor_of(task)
        return actor.name, actor.step

    def kind_of(self, handle: Any) -> str | None:
        """Return the kind of arrival of `handle`; None if it may not be delayed."""
        arrivals, _, is_project, scenario, _ = self._judging
        if type(handle) in ARRIVALS:
            return handle.kind if handle.kind in arrivals else None
        task = stepping_task(handle._callback)
        is_step = type(handle._callback) is StepCallback
        return kind_of_step(self._actor_of(task), task, is_step, arrivals, is_project, scenario)


def close_abandoned_generator(loop: ControlledLoop, agen: Any) -> None:
    """Start the task that closes an asynchronous generator; the trace has it by this name."""
    loop.create_task(agen.aclose())
