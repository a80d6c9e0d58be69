"""What could still wake a loop that has nothing to do: the world outside the program's own logic.

A loop without ready callbacks and timers goes on only if somebody else sees to it: a thread, a process, a peer. The
answer is a list of reasons in words; an empty one is a proof that the loop will stand still for ever.

Private names of CPython used here: ``_selector``, ``_ssock`` and ``_signal_handlers`` of the loop, and which children
``multiprocessing`` keeps.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from selectors import SelectorKey
from typing import Any

from ..own import no_loop_running
from .threads import Place, thread_calls, threads_at_work


def reasons_to_wait(loop: asyncio.AbstractEventLoop, test_thread: int, old_threads: Mapping[int, Place]) -> list[str]:
    """What `loop`, which is idle and called this, may still hear from.

    Args:
        loop: a loop with a selector.
        test_thread: the thread that runs the test.
        old_threads: where the threads that were there before the test were then. There they have nothing to do.
    """
    return [
        *_open_files(loop),
        *thread_calls(loop),
        *threads_at_work(test_thread, old_threads),
        *_processes(),
        *_signals(loop),
    ]


def _open_files(loop: Any) -> Iterable[str]:
    with ExitStack() as stack:
        sockets = {
            key.fd: stack.enter_context(sock) if (sock := socket_of(key.fd)) is not None else None
            for key in registered(loop)
        }
        names = {fd: _name(sock.getsockname) for fd, sock in sockets.items() if sock is not None}
        for fd, sock in sockets.items():
            if sock is None:
                yield f"file descriptor {fd}"
            elif not is_listening(sock):
                peer = _name(sock.getpeername)
                if not any(name == peer and other != fd for other, name in names.items()):
                    yield f"the connection to {peer}"


def registered(loop: Any) -> Iterator[SelectorKey]:
    """What `loop` has registered with its selector, but for its own end of the pair that wakes it."""
    own_end = loop._ssock.fileno()
    return (key for fd, key in loop._selector.get_map().items() if fd != own_end)


def socket_of(fd: int) -> socket.socket | None:
    """Another handle, to be closed, on the socket behind `fd`; None if it is something else."""
    try:
        return socket.socket(fileno=os.dup(fd))  # the transport's own object is not to be had
    except OSError:
        return None


def _name(ask: Callable[[], object]) -> object:
    try:
        return ask() or "somebody"
    except OSError:
        return "somebody"


def is_listening(sock: socket.socket) -> bool:
    """Whether it is a server's, which only somebody from outside the test could connect to."""
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def _processes() -> Iterable[str]:
    """Children that the loop knows nothing of: they may connect to a server of the test, or send it a signal."""
    if not hasattr(os, "waitid"):  # pragma: no cover - Windows, and macOS before Python 3.13
        return
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return
    if not _are_all_of_multiprocessing():
        yield "a child process"


def _are_all_of_multiprocessing() -> bool:
    """Whether the only children are those that it keeps until Python ends, and that tell nobody anything."""
    tracker = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    keepers = {str(getattr(tracker, "_pid", None)), str(getattr(server, "_forkserver_pid", None))}
    try:
        with no_loop_running():
            lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    except OSError:  # a thread has ended meanwhile
        return False
    return bool(lists) and keepers.issuperset(" ".join(lists).split())  # not every system has the lists


def _signals(loop: Any) -> Iterable[str]:
    if getattr(loop, "_signal_handlers", None):
        yield "a signal"
