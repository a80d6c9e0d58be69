"""What of the real world a program waits for right now.

Virtual time must not run ahead of it, and a test that asks for quiet waits for it. It is a weaker question than that of
`outside`: not whether anything may come, but whether it is about to. A call in a thread, a child process that a task
waits for, a connection that is being made, output that is not yet written: certainly. A connection that was in use, a
thread of a library's own: for a short grace of silence. A listening socket, a connection that nobody has used for a
while: not at all.

The kernel says when data last went over a TCP connection (``TCP_INFO``, on Linux). Of others it is not known, so they
get the grace each time the loop comes to rest.

Private names of CPython used here: ``_thread._count``, ``_selector`` and ``_signal_handlers`` of the loop, and in which
modules of asyncio a child is waited for.
"""

import asyncio
import socket
import struct
import threading
from _thread import _count as _thread_count
from collections.abc import Collection
from selectors import EVENT_WRITE, SelectorKey
from typing import Any

from .. import real_time
from ..sites import await_chain
from ..task_state import coroutine_of
from ..untrusted import attribute, type_name
from .lull import Lull, has_lulls
from .outside import is_listening, registered, socket_of
from .threads import is_of_pool, thread_calls

_LAST_SENT_AND_RECEIVED = struct.Struct("=44xI4xI")  # milliseconds ago, in the tcp_info of Linux
_CHILD_MODULES = {"asyncio.subprocess", "asyncio.base_subprocess"}


class UnderWay:
    """Tells whether something is under way that a loop will hear of soon.

    Args:
        loop: a loop with a selector.
        grace: seconds of real time that a connection or a thread must be silent.
        old_threads: those from before the test, which owe it no answer unless they work for a pool.
    """

    def __init__(self, loop: Any, grace: float, old_threads: Collection[threading.Thread]) -> None:
        self.grace = grace
        self.loop = loop
        self._old_threads = old_threads
        self._harmless = {threading.current_thread()}
        self._rest: tuple[int, float] = (-1, 0.0)
        self._files = loop._selector.get_map() if has_lulls(loop) else {}

    def nobody(self) -> bool:
        """Whether there is nobody it could hear from: no other thread, no file, no signal. Quick, and asked often."""
        return not (_thread_count() or len(self._files) > 1 or self.loop._signal_handlers)

    def anything(self) -> bool:
        """Whether something is under way; to be asked in a lull."""
        if self.nobody():
            return False
        answers = [self._of_thread(thread) for thread in threading.enumerate() if thread not in self._harmless]
        if True in answers:
            return True
        answers += [self._of_file(key) for key in registered(self.loop)]
        return True in answers or (None in answers and (self._is_in_grace() or _waits_for_child(self.loop)))

    def _is_in_grace(self) -> bool:
        now = real_time.monotonic()
        turns = Lull.of(self.loop).turns
        if self._rest[0] != turns:
            self._rest = (turns, now)
        return now - self._rest[1] < self.grace

    def _of_thread(self, thread: threading.Thread) -> bool | None:
        """Whether it is at work for this loop; None if that cannot be known."""
        if is_of_pool(thread):
            return any(True for _ in thread_calls(self.loop))
        if thread in self._old_threads:
            self._harmless.add(thread)
            return False
        return None

    def _of_file(self, key: SelectorKey) -> bool | None:
        """Whether something is about to come, or to go, by it; None if that cannot be known."""
        if key.events & EVENT_WRITE:
            return True
        sock = socket_of(key.fd)
        if sock is None:
            return None
        with sock:
            return False if is_listening(sock) else self._was_just_used(sock)

    def _was_just_used(self, sock: socket.socket) -> bool | None:
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_SENT_AND_RECEIVED.size)
            sent, received = _LAST_SENT_AND_RECEIVED.unpack(info)
            return bool(min(sent, received) < self.grace * 1000)
        except (OSError, AttributeError, struct.error):  # no TCP, or not on Linux
            return None


def _waits_for_child(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a task waits for a child process to end, or for what it writes."""
    frames = (frame for task in asyncio.all_tasks(loop) for frame in await_chain(coroutine_of(task)))
    return any(
        frame.f_globals.get("__name__") in _CHILD_MODULES
        or "Pipe" in type_name(attribute(frame.f_locals.get("self"), "_transport"))
        for frame in frames
    )
