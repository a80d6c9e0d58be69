"""Workers: threads that work outside an event loop, and the activity of each while the loop is idle.

Virtual time must not run ahead of a worker that will answer, and a test that waits until its loop is idle waits for it.
The waiter of the answer cannot be relied on: the answer may be awaited behind a ``shield``, or an event that a callback
sets, or not at all if the program polls ``done()``. So all threads themselves are examined.

- A worker is *working* while it runs, and while it sleeps in a call that will return by itself: ``time.sleep``, a
  query, a file, a child process.
- It is *blocked* in a lock, a queue or the result of a future: only another thread can resume it. It waits for more
  work, or for the loop itself. If it waits for another worker, that one is working.
- It is *listening* when it waits for an external peer (a server in ``accept``, another loop in ``select``), or sleeps
  repeatedly at one line (a heartbeat). It may produce an event, or never.
- It is *idle* at its position before the test, and where a pool of processes has nothing to do.

A worker that has just been given work is still at the position where it was blocked. The kernel knows better, see
``kernel.py``: a thread that has slept all the time between two checks, between which every thread had a chance to run,
has not been woken. If the kernel does not say, a blocked worker counts as listening: it gets a short time to answer.

Nothing is patched, and a worker may be older than the test (a connection that a fixture of the session has opened).

Private names of CPython used here: the functions in which the workers of ``concurrent.futures``, ``multiprocessing``
and anyio run, and the calls that a pool of processes stores.
"""

import asyncio
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import BuiltinFunctionType, FrameType
from typing import Any, Literal, TypeAlias

from .._asyncio.idle_hooks import IdleHooks
from .._introspect import real_clock
from .._introspect.internals import has_selector
from .._introspect.location import location_in
from .._introspect.project_code import loop_hidden
from .._introspect.untrusted import attribute, module_name, qualified_name, text_attribute, type_module, type_name
from .blocking_call import ENTERING, ITERATING, blocking_call
from .kernel_thread import Naps, is_in_lock, naps
from .sockets import is_connected_to_loop
from .threads import Place, frames_from, is_at, named, places_of_threads

Activity: TypeAlias = Literal["working", "blocked", "listening", "idle"]
_Since: TypeAlias = tuple[int, Naps | None]  # the busy count of the loop and the nap of the thread at the beginning

_LOCKS = {"acquire", "get", "join", ENTERING}  # functions that return when another thread releases them
_LISTENING = {"_accept", "accept", "select", "poll", "control", "recv", "recv_into", "recvfrom", "recvmsg", "read"}
_LISTENING |= {"readinto", "readline", "waitpid", "waitid", "wait4", "run_forever", "run_until_complete"}
_WAITS_FOR_ANSWER = {"queue.get", "concurrent.futures._base.result"}  # whatever their timeout
_SHORT = 1.0  # seconds; a wait with at most this timeout is a kind of sleep, a longer one waits for another thread


@dataclass(frozen=True)
class WorkerActivity:
    """The activities of the workers at one moment.

    Attributes:
        working: the workers that will answer, each in words, with its current line.
        is_any_listening: whether a worker may answer.
    """

    working: tuple[str, ...] = ()
    is_any_listening: bool = False


class Workers:
    """The threads other than the test's own.

    Args:
        is_project: project code, whose innermost line is named in words.

    Attributes:
        places: the position of each thread before the test, by its ident. There it has no work for the test.
    """

    def __init__(self, is_project: Mapping[str, bool]) -> None:
        self._is_project = is_project
        self._home = threading.current_thread()
        self._old = frozenset(threading.enumerate())
        self.places: dict[int, Place] = places_of_threads()
        self._blocked: dict[threading.Thread, Naps | None] = {}
        self._sleeping: dict[threading.Thread, tuple[object, int, Naps | None]] = {}

    def activity(self, loop: asyncio.AbstractEventLoop) -> WorkerActivity:
        """Return the activities of all workers that concern `loop`, which is idle and called this."""
        turn = IdleHooks.of(loop).busy_iterations if has_selector(loop) else 0
        with loop_hidden():
            activities = list(self._activities(loop, turn))
        working = tuple(words for activity, words in activities if activity == "working")
        return WorkerActivity(working, any(activity == "listening" for activity, _ in activities))

    def _activities(self, loop: asyncio.AbstractEventLoop, turn: int) -> Iterator[tuple[Activity, str]]:
        here = threading.current_thread()
        started = [thread for thread in threading.enumerate() if thread.ident is not None]
        threads = [thread for thread in started if thread not in (here, self._home)]
        before = [naps(thread) for thread in threads]
        # Code that starts a thread is blocked until the thread runs, so a thread without a frame must count.
        for thread in threading.enumerate():
            if thread not in started:
                yield "working", f"thread {thread.name}, about to start"
        if all(
            nap is not None and nap == self._blocked.get(thread) for thread, nap in zip(threads, before, strict=True)
        ):
            return
        frames = sys._current_frames()
        real_clock.let_others_run()
        for thread, nap in zip(threads, before, strict=True):
            frame = frames.get(thread.ident or 0)
            is_settled = None if nap is None else nap.is_asleep and naps(thread) == nap
            if frame is None or (is_settled and nap == self._blocked.get(thread)):  # it has ended, or still sleeps
                continue
            call = _call_in(frame)
            if is_settled is not False:
                activity = self._activity(thread, frame, call, loop, (turn, nap))
            elif _is_of_pool(thread) or _is_blocked(frame, call):
                activity = "working"
            else:  # on a busy machine a heartbeat never sleeps through a check
                activity = self._activity_of_sleeper(thread, frame, call, (turn, nap))
            if activity in ("blocked", "idle"):
                self._blocked[thread] = nap
            if activity == "blocked" and not is_settled:
                activity = "listening"
            yield activity, self._words(thread, frame) if activity == "working" else ""

    def _activity(
        self, thread: threading.Thread, frame: FrameType, call: str, loop: asyncio.AbstractEventLoop, since: _Since
    ) -> Activity:
        """Return the activity of a thread that sleeps in `frame`."""
        if (calls := _calls_of_pool(thread, frame)) is not None:
            return "working" if calls else "idle"
        if _is_blocked(frame, call) or (call == ITERATING and is_in_lock(thread)):
            return "blocked"
        if is_at(frame, self.places.get(thread.ident or 0, [])):
            return "idle"
        if _is_of_pool(thread):
            return "blocked" if is_connected_to_loop(frame, loop) else "working"
        if call in _LISTENING:
            return "idle" if thread in self._old else "listening"
        return self._activity_of_sleeper(thread, frame, call, since)

    def _activity_of_sleeper(self, thread: threading.Thread, frame: FrameType, call: str, since: _Since) -> Activity:
        """Return "listening" for a heartbeat: a thread that sleeps at the same line again while the loop was idle."""
        if call not in ("sleep", "acquire"):
            return "working"
        outer = next((each for each in frames_from(frame) if each.f_globals.get("__name__") != "threading"), frame)
        place = (outer.f_code, outer.f_lasti)
        turn, nap = since
        first = self._sleeping.get(thread)
        if first is None or first[:2] != (place, turn):
            self._sleeping[thread] = place, turn, nap
            return "working"
        return "listening" if nap != first[2] else "working"

    def _words(self, thread: threading.Thread, frame: FrameType) -> str:
        if calls := _calls_of_pool(thread, frame):
            return f"a pool of processes, at work on {', '.join(calls)}"
        own = next((each for each in frames_from(frame) if self._is_project[each.f_code.co_filename]), None)
        if own is None:
            return f"thread {thread.name}, at work in {_call_in(frame) or frame.f_code.co_qualname}()"
        return f"thread {thread.name}, at work at {location_in(own.f_code, own.f_lineno or own.f_code.co_firstlineno)}"


def _call_in(frame: FrameType) -> str:
    """Return the name of the function written in C that `frame` is calling; empty if it is calling none."""
    return _handed_over(frame) or blocking_call(frame)


def _handed_over(frame: FrameType) -> str:
    """Return the name of the C function that a thread was started with, if `frame` is calling it."""
    name, variables = named(frame), frame.f_locals
    function: Any = None
    if name == "concurrent.futures.thread.run":  # since 3.14, a worker keeps the function in a variable
        function = variables["fn"] if "fn" in variables else attribute(variables.get("self"), "fn")
    elif name == "threading.run":
        function = attribute(variables.get("self"), "_target")
    elif name == "anyio._backends._asyncio.run":
        function = variables.get("func")
    while type(function) is partial:  # asyncio.to_thread passes partial(context.run, function)
        is_in_context = text_attribute(function.func, "__name__") == "run" and function.args
        function = function.args[0] if is_in_context else function.func
    return function.__name__ if issubclass(type(function), BuiltinFunctionType) else ""


def _is_blocked(frame: FrameType, call: str) -> bool:
    """Return True if only another thread can resume `frame`."""
    if call not in _LOCKS:
        return False
    if named(frame) != "threading.wait" or named(frame.f_back) in _WAITS_FOR_ANSWER:
        return True
    timeout = frame.f_locals.get("timeout")
    return timeout is None or timeout > _SHORT


def _is_of_pool(thread: threading.Thread) -> bool:
    """Return True if `thread` belongs to a pool of ``concurrent.futures`` or anyio, which passes calls to it."""
    is_of_futures = module_name(attribute(thread, "_target")) == "concurrent.futures.thread"
    return is_of_futures or type_module(thread).startswith("anyio.")


def _calls_of_pool(thread: threading.Thread, frame: FrameType) -> tuple[str, ...] | None:
    """Return the pending calls of a pool of processes, if `thread` is the one that receives its answers; else None."""
    if type_name(thread) == "_ExecutorManagerThread":
        items: Any = attribute(thread, "pending_work_items", {})
        return tuple(qualified_name(item.fn) for item in tuple(items.values()))
    for each in frames_from(frame):
        if named(each) == "multiprocessing.pool._handle_results":
            return ("a function",) * len(each.f_locals.get("cache", ()))
    return None
