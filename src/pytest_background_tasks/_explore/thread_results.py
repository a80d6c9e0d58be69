"""The results of threads to an explored loop. Only the explorer's helper thread may answer, and time waits for it.

Private names of CPython used here: ``_check_closed``, ``_ready`` and ``_stopping`` of a loop, ``_fut_waiter`` of a
task.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextvars import Context
from functools import partial
from typing import Any

from .._introspect.suspension import wait_point_of
from ..errors import UncontrolledOperation
from . import debug_mode
from .arrivals import Arrival, ThreadCall, ends_sleep, settle
from .foreign_threads import ForeignThreads, foreign_thread_error
from .task_names import TaskIdentity, TaskNames
from .unsupported import UnsupportedCalls


class ThreadCalls(UnsupportedCalls):
    """The methods of a loop through which threads answer it."""

    tasks: list[asyncio.Task[Any]]
    _answers: dict[tuple[str, int], int] = {}  # noqa: RUF012  # most runs have no answers, and a loop must have few attributes
    _helper: Any
    _names: TaskNames
    _options: Any
    _home: int
    _now: float
    _arrived: list[Arrival | ThreadCall]
    _debug: bool
    _timers: list[tuple[float, int, Arrival]]
    _running: Callable[[], TaskIdentity]
    _playing: Any
    _ready: Any
    _stopping: bool

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback from the loop's own thread, or let one arrive from the helper thread."""
        ident = threading.get_ident()
        if ident not in (self._home, self._helper.ident):
            return self._answer_of_foreign_thread(callback, args, context)
        self._check_closed()  # type: ignore[attr-defined]
        handle = ThreadCall(self._names.derived(self._running(), "call"), callback, args, self, context)
        if ident == self._home:
            self._ready.append(handle)
        else:
            self._arrives(handle)
        return debug_mode.without_our_frames(handle) if self._debug else handle

    def run_in_executor(  # type: ignore[override]
        self,
        executor: Any,  # noqa: ARG002  # there is only one
        func: Callable[..., Any],
        *args: Any,
    ) -> Any:
        """Run a function in the helper thread at once; its answer arrives later."""
        if self._debug:
            debug_mode.check(self, "run_in_executor", func)
        actor = self._running()
        future = self.create_future()
        self._helper.asked = len(self._arrived)
        try:
            result, error = self._helper.run(partial(func, *args) if args else func)
        except UncontrolledOperation as stuck:
            raise self.refuse(stuck) from None
        is_first = actor.answered != actor.step
        actor.answered = actor.step
        who = actor.name if is_first else self._names.derived(actor, "thread")
        number = actor.step if is_first else 0
        self._arrives(Arrival(who, number, "thread", self._now, settle, (future, result, error), self, None))
        return future

    def _arrives(self, handle: Arrival | ThreadCall) -> None:
        """Add `handle` to the arrivals from the helper thread."""
        queue = self._arrived if len(self._arrived) > self._helper.asked else self._ready
        handle.asked_behind = queue[-1] if queue else None
        self._arrived.append(handle)

    def _note_answers(self, queue: Iterable[asyncio.Handle]) -> None:
        """Record how many handles of the `queue` each answer comes behind at least; delayed handles do not count."""
        if not self._answers:
            self._answers = {}
        staying, count, places = set(map(id, self._ready)), 0, {}
        for handle in queue:
            count += id(handle) in staying and not handle.cancelled()
            places[id(handle)] = count
        for answer in self._arrived:
            self._answers.setdefault((answer.who, answer.number), places.get(id(answer.asked_behind), 0))
            places[id(answer)] = count  # by default, later answers come behind the whole queue

    # Threads that no schedule controls.

    def _answer_of_foreign_thread(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.Handle:
        """Refuse this run, but let it end with the answer, so that the thread continues as on any loop."""
        error = self._helper.foreign.answers()
        handle = asyncio.Handle(callback, args, self, context)
        if self.is_closed():
            if not (asyncio.isfuture(getattr(callback, "__self__", None)) or any(map(asyncio.isfuture, args))):
                self._check_closed()  # type: ignore[attr-defined]
            handle.cancel()  # no task waits for this answer any more
            return handle
        self.refuse(error)
        if getattr(callback, "__qualname__", "").startswith("run_coroutine_threadsafe."):
            raise error  # the thread waits for the coroutine, which would never finish
        self._ready.append(handle)
        self._stopping = True
        return handle

    def refuse_answered(self) -> None:
        """Refuse the run if a thread of a pool answered before a task waited for it."""
        foreign: ForeignThreads = self._helper.foreign
        if not foreign.is_alone():
            for words in foreign.started():
                self.refuse(foreign_thread_error(words, None))

    def _is_held_by_threads(self) -> bool:
        """Return True if time must stand still. If a thread is the reason, the run is over."""
        foreign: ForeignThreads = self._helper.foreign
        if not foreign.has_unknown and self._playing is not None and self.refusal is None and foreign.is_alone():
            return False  # the usual case
        if foreign.has_unknown and foreign.passed is None:
            foreign.passed = self._open_wait()
        if self._playing is None:  # the run is being cleaned up
            ready, is_over = self._ready, foreign.is_alone() and foreign.answer is None
            return self.refusal is not None and not is_over and foreign.wait_until(lambda: ready)
        self._refuse_threads()
        self._stopping = self._stopping or self.refusal is not None
        return self.refusal is not None

    def _refuse_threads(self) -> None:
        """Refuse the run if a thread that it started is still running, because that may still answer."""
        foreign: ForeignThreads = self._helper.foreign
        if self.refusal is None and not foreign.is_alone():
            for words in foreign.remaining():
                self.refuse(foreign_thread_error(words, self._open_wait()))

    def check_threads(self) -> None:
        """Raise the error that the finished run cannot be controlled, if it was refused."""
        foreign: ForeignThreads = self._helper.foreign
        if self.refusal is None and foreign.is_alone():
            return  # the usual case
        self._refuse_threads()
        if (error := self.refusal) is None:
            return
        place = self._open_wait()
        if error is self._helper.foreign.answer and place is not None and "\n  " not in str(error):
            first, _, rest = str(error).partition("\n")
            error.args = (f"{first}\n  {place}\n{rest}",)
        raise error

    def _open_wait(self) -> str | None:
        """Return a description of the first task that waits for a future other than a sleep; None if there is none."""
        slept = {id(timer._args[0]) for *_, timer in self._timers if timer._callback is ends_sleep}
        for task in self.tasks:
            future = None if task.done() else getattr(task, "_fut_waiter", None)
            if future is not None and not isinstance(future, asyncio.Task) and id(future) not in slept:
                wait = wait_point_of(task, self._options.is_project_file)
                actor: TaskIdentity | None = getattr(task, "_explorer_actor", None)
                name = task.get_name() if actor is None else actor.name
                return None if wait is None else f"{name} waits at {wait}"
        return None
