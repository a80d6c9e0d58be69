"""The external activity that will soon end in an external event for a loop.

Virtual time must not run ahead of it, and a test that waits until its loop is idle waits for it. The condition is
stronger than that of `outside`: an event must not only be possible, but be about to arrive. A working worker, a child
process that a task waits for, a connection that is being made, output that is not yet written: certainly. A connection
in use, a listening worker: during a short grace period without a sign of progress. A listening socket, a connection
that has not been used for a while, a blocked worker: never.

The kernel reports when data was last transferred over a TCP connection (``TCP_INFO``, on Linux). For other connections
that is unknown, so they get the grace period each time the loop becomes idle.

Private names of CPython used here: ``_thread._count``, and the modules of asyncio in which a task waits for a child.
"""

import asyncio
import math
import socket
import struct
from _thread import _count as _thread_count
from collections.abc import Iterator
from selectors import EVENT_WRITE, SelectorKey
from typing import Any

from .._asyncio.idle_hooks import IdleHooks
from .._introspect import real_clock
from .._introspect.internals import files_of, has_selector, selector_of, signal_handlers_of
from .._introspect.location import await_chain
from .._introspect.suspension import task_label
from .._introspect.task_state import coroutine_of
from .._introspect.untrusted import attribute, type_name
from .._network.network import SOCKETS
from .sockets import is_listening, name_or, registered, socket_of
from .workers import Workers

_LAST_SENT_AND_RECEIVED = struct.Struct("=44xI4xI")  # in milliseconds before now, in the tcp_info of Linux
_CHILD_MODULES = {"asyncio.subprocess", "asyncio.base_subprocess"}
_FIRST_POLL_INTERVAL = 0.0005  # seconds; most working workers are about to become idle


class ExternalActivity:
    """The external activity of a loop.

    Args:
        loop: a loop with a selector, or a uvloop, which does not expose its files.
        grace: the grace period for a connection or a listening worker, in seconds of real time.
        workers: the workers of the test.
    """

    def __init__(self, loop: Any, grace: float, workers: Workers) -> None:
        self.loop = loop
        self._grace = grace
        self._workers = workers
        self._rest: tuple[int, float] = (-1, 0.0)
        self._has_worked = False  # whether a worker was working at the last check
        self._worked_until = -math.inf
        self._files = files_of(selector_of(loop)) if has_selector(loop) else {}
        self._signal_handlers = signal_handlers_of(loop)

    def has_no_sources(self) -> bool:
        """Return True if there is no source: no other thread, no file, no signal. Fast, because it is called often."""
        return not (_thread_count() or len(self._files) > 1 or self._signal_handlers)

    def in_progress(self) -> bool:
        """Return True if there is external activity; to be called when the loop is idle."""
        return not self.has_no_sources() and any(self._reasons())

    def reasons(self) -> list[str]:
        """Return the certain external activity, in words; empty if all of it is only within its grace period."""
        return [reason for reason in self._reasons() if isinstance(reason, str)]

    def is_any_worker_at_work(self) -> bool:
        """Return True if a worker is working, for a loop that exposes nothing else."""
        return bool(_thread_count()) and bool(self._workers.activity(self.loop).working)

    @property
    def poll_interval(self) -> float:
        """The seconds to wait before the next check, which increase with the silence of the loop."""
        return min(self._grace, max(self._seconds_idle(), _FIRST_POLL_INTERVAL))

    def _reasons(self) -> Iterator[str | bool]:
        """Yield the external activity: certain activity in words, uncertain activity as True in its grace period."""
        seconds_idle = self._seconds_idle()
        activity = self._workers.activity(self.loop)
        if not activity.working and self._has_worked:  # the waiter of that worker has yet to receive the answer
            self._worked_until = real_clock.monotonic()
        self._has_worked = bool(activity.working)
        yield from activity.working
        files = [self._of_file(key) for key in registered(self.loop)] if self._files else []
        yield from (words for words in files if words)
        if activity.is_any_listening or None in files:
            yield min(seconds_idle, real_clock.monotonic() - self._worked_until) < self._grace
            yield from _children_awaited(self.loop)

    def _seconds_idle(self) -> float:
        """Return the seconds of real time since the loop was last busy."""
        now = real_clock.monotonic()
        turns = IdleHooks.of(self.loop).busy_iterations if has_selector(self.loop) else 0
        if self._rest[0] != turns:
            self._rest = (turns, now)
        return now - self._rest[1]

    def _of_file(self, key: SelectorKey) -> str | None:
        """Return the activity of a registered file, in words; empty if there is none, None if that is unknown."""
        if key.fd in SOCKETS:  # what is sent there arrives at once
            return ""
        sock = socket_of(key.fd)
        if sock is None:
            return f"output to file descriptor {key.fd}" if key.events & EVENT_WRITE else None
        with sock:
            peer = name_or("a peer", sock.getpeername)
            if key.events & EVENT_WRITE:
                return f"a connection to {peer}, which is being made or takes no more output"
            if is_listening(sock):
                return ""
            was_used = self._was_just_used(sock)
            return None if was_used is None else f"the connection to {peer}, just used" if was_used else ""

    def _was_just_used(self, sock: socket.socket) -> bool | None:
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_SENT_AND_RECEIVED.size)
            sent, received = _LAST_SENT_AND_RECEIVED.unpack(info)
            return bool(min(sent, received) < self._grace * 1000)
        except (OSError, AttributeError, struct.error):  # not TCP, or not on Linux
            return None


def _children_awaited(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """Yield the child processes whose end or output a task waits for."""
    for task in asyncio.all_tasks(loop):
        for frame in await_chain(coroutine_of(task)):
            child = frame.f_locals.get("self")
            if frame.f_globals.get("__name__") in _CHILD_MODULES:
                yield f"the child process {attribute(child, 'pid', '')}, which {task_label(task)} waits for"
                break
            if "Pipe" in type_name(attribute(child, "_transport")):
                yield f"a child process, whose output {task_label(task)} waits for"
                break
