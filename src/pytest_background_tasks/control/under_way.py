"""What of the real world a program waits for right now.

Virtual time must not run ahead of it, and a test that asks for quiet waits for it. It is a weaker question than that of
`outside`: not whether anything may come, but whether it is about to. A worker that works, a child process that a task
waits for, a connection that is being made, output that is not yet written: certainly. A connection that was in use, a
worker that listens: for a short grace of silence. A listening socket, a connection that nobody has used for a while, a
worker that is blocked: not at all.

The kernel says when data last went over a TCP connection (``TCP_INFO``, on Linux). Of others it is not known, so they
get the grace each time the loop comes to rest.

Private names of CPython used here: ``_thread._count``, ``_selector`` and ``_signal_handlers`` of the loop,
``_fd_to_key`` of a selector, and in which modules of asyncio a child is waited for.
"""

import asyncio
import math
import socket
import struct
from _thread import _count as _thread_count
from collections.abc import Iterator, Mapping
from selectors import EVENT_WRITE, SelectorKey
from typing import Any

from .. import real_time
from ..sites import await_chain
from ..task_state import coroutine_of
from ..untrusted import attribute, type_name
from ..waits import known
from .lull import Lull, has_lulls
from .sockets import is_listening, name_or, registered, socket_of
from .workers import Workers

_LAST_SENT_AND_RECEIVED = struct.Struct("=44xI4xI")  # milliseconds ago, in the tcp_info of Linux
_CHILD_MODULES = {"asyncio.subprocess", "asyncio.base_subprocess"}
_FIRST_GLANCE = 0.0005  # seconds; most workers that are found at work are about to become idle


def _files_of(selector: Any) -> Mapping[Any, Any]:
    """Return what the selector has registered; the dictionary itself, where it is known: its length is asked often."""
    files = attribute(selector, "_fd_to_key")
    return files if type(files) is dict else selector.get_map()


class UnderWay:
    """Tells whether something is under way that a loop will hear of soon.

    Args:
        loop: a loop with a selector, or of uvloop, which shows no files.
        grace: seconds of real time that a connection or a worker that listens must be silent.
        workers: of the test.
    """

    def __init__(self, loop: Any, grace: float, workers: Workers) -> None:
        self.loop = loop
        self._grace = grace
        self._workers = workers
        self._rest: tuple[int, float] = (-1, 0.0)
        self._has_worked = False  # a worker, when looked at last
        self._worked_until = -math.inf
        self._files = _files_of(loop._selector) if has_lulls(loop) else {}

    def nobody(self) -> bool:
        """Whether there is nobody it could hear from: no other thread, no file, no signal. Quick, and asked often."""
        return not (_thread_count() or len(self._files) > 1 or self.loop._signal_handlers)

    def anything(self) -> bool:
        """Whether something is under way; to be asked in a lull."""
        return not self.nobody() and any(self._reasons())

    def reasons(self) -> list[str]:
        """Return what is under way, in words; empty if all there is must only be silent a little longer."""
        return [reason for reason in self._reasons() if isinstance(reason, str)]

    def is_any_worker_at_work(self) -> bool:
        """Return whether a worker is at work, for a loop that shows nothing else."""
        return bool(_thread_count()) and bool(self._workers.look(self.loop).working)

    @property
    def glance(self) -> float:
        """Seconds to wait for what is under way before the next look: the longer, the longer it has been so."""
        return min(self._grace, max(self._silence(), _FIRST_GLANCE))

    def _reasons(self) -> Iterator[str | bool]:
        """Yield what is under way: certain in words, uncertain as True while the grace lasts."""
        silence = self._silence()
        look = self._workers.look(self.loop)
        if not look.working and self._has_worked:  # what waits for that worker has yet to take its answer
            self._worked_until = real_time.monotonic()
        self._has_worked = bool(look.working)
        yield from look.working
        files = [self._of_file(key) for key in registered(self.loop)] if self._files else []
        yield from (words for words in files if words)
        if look.is_any_listening or None in files:
            yield min(silence, real_time.monotonic() - self._worked_until) < self._grace
            yield from _children_awaited(self.loop)

    def _silence(self) -> float:
        """Seconds of real time since the loop last had something to do."""
        now = real_time.monotonic()
        turns = Lull.of(self.loop).turns if has_lulls(self.loop) else 0
        if self._rest[0] != turns:
            self._rest = (turns, now)
        return now - self._rest[1]

    def _of_file(self, key: SelectorKey) -> str | None:
        """Return what is about to come, or to go, by it; empty if nothing is, None if that cannot be known."""
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
        except (OSError, AttributeError, struct.error):  # no TCP, or not on Linux
            return None


def _children_awaited(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """The child processes for whose end, or for whose output, a task waits."""
    for task in asyncio.all_tasks(loop):
        for frame in await_chain(coroutine_of(task)):
            child = frame.f_locals.get("self")
            if frame.f_globals.get("__name__") in _CHILD_MODULES:
                yield f"the child process {attribute(child, 'pid', '')}, for which {known(task)} waits"
                break
            if "Pipe" in type_name(attribute(child, "_transport")):
                yield f"a child process, for whose output {known(task)} waits"
                break
