"""The external sources that could still wake an idle loop, beyond the program's own logic.

A loop without ready callbacks and timers continues only after an external event: from a thread, a process, a peer. The
possible sources are listed in words; an empty list proves a deadlock.

Private names of CPython used here: the children that ``multiprocessing`` keeps.
"""

import asyncio
import os
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .._introspect.internals import signal_handlers_of
from .._introspect.project_code import loop_hidden
from .sockets import is_listening, name_or, registered, socket_of
from .threads import threads_at_work
from .workers import Workers

_UNNAMED = "an unnamed peer"


def wakeup_sources(loop: asyncio.AbstractEventLoop, test_thread: int, workers: Workers) -> list[str]:
    """Return the possible sources of an external event for `loop`, which is idle and called this.

    Args:
        loop: a loop with a selector.
        test_thread: the thread that runs the test.
        workers: the workers of the test, which know the threads that are older than the test.
    """
    return [
        *_open_files(loop),
        *(workers.activity(loop).working or threads_at_work(test_thread, workers.places)),
        *_processes(),
        *_signals(loop),
    ]


def _open_files(loop: Any) -> Iterable[str]:
    with ExitStack() as stack:
        sockets = {
            key.fd: stack.enter_context(sock) if (sock := socket_of(key.fd)) is not None else None
            for key in registered(loop)
        }
        names = {fd: name_or(_UNNAMED, sock.getsockname) for fd, sock in sockets.items() if sock is not None}
        for fd, sock in sockets.items():
            if sock is None:
                yield f"file descriptor {fd}"
            elif not is_listening(sock):
                peer = name_or(_UNNAMED, sock.getpeername)
                if not any(name == peer and other != fd for other, name in names.items()):
                    yield f"the connection to {peer}"


def _processes() -> Iterable[str]:
    """Yield child processes unknown to the loop: they may connect to a server of the test, or send it a signal."""
    if not hasattr(os, "waitid"):  # pragma: no cover - Windows, and macOS before Python 3.13
        return
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return
    if not _are_all_of_multiprocessing():
        yield "a child process"


def _are_all_of_multiprocessing() -> bool:
    """Return True if the only children are those that it keeps until Python exits, which never send anything."""
    tracker = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    helpers = {str(getattr(tracker, "_pid", None)), str(getattr(server, "_forkserver_pid", None))}
    try:
        with loop_hidden():
            lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    except OSError:  # a thread has ended meanwhile
        return False
    return bool(lists) and helpers.issuperset(" ".join(lists).split())  # not every system has the lists


def _signals(loop: Any) -> Iterable[str]:
    if signal_handlers_of(loop):
        yield "a signal"
