"""What could still wake a loop that has nothing to do: the world outside the program's own logic.

A loop without ready callbacks and timers goes on only if somebody else sees to it: a thread, a process, a peer. The
answer is a list of reasons in words; an empty one is a proof that the loop will stand still for ever.

Private names of CPython used here: ``_selector``, ``_ssock`` and ``_signal_handlers`` of the loop, ``_fut_waiter`` of a
task and ``_callbacks`` of a future, and where the worker threads of ``concurrent.futures`` and anyio wait.
"""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from itertools import islice
from types import CodeType, FrameType
from typing import Any, TypeAlias

from ..sites import await_chain

Place: TypeAlias = list[tuple[CodeType, int]]
"""Where a thread is: all its frames, the innermost first."""


def places_of_threads() -> dict[int, Place]:
    """Where each thread is now, by its ident."""
    return {ident: _place(frame) for ident, frame in sys._current_frames().items()}


def reasons_to_wait(loop: asyncio.AbstractEventLoop, test_thread: int, old_threads: Mapping[int, Place]) -> list[str]:
    """What `loop`, which is idle and called this, may still hear from.

    Args:
        loop: a loop with a selector.
        test_thread: the thread that runs the test.
        old_threads: where the threads that were there before the test were then. There they have nothing to do.
    """
    return [
        *_open_files(loop),
        *_thread_calls(loop),
        *_threads(test_thread, old_threads),
        *_processes(),
        *_signals(loop),
    ]


def is_at_work(test_thread: int) -> bool:
    """Whether the test itself goes on, beside a loop in another thread: what is silent there is not waited for."""
    frame = sys._current_frames().get(test_thread)
    if frame is None or test_thread == threading.get_ident():
        return False
    return frame.f_globals.get("__name__") != "threading" or frame.f_locals.get("timeout") is not None


def _open_files(loop: Any) -> Iterable[str]:
    own_end = loop._ssock.fileno()
    with ExitStack() as stack:
        sockets = {
            fd: stack.enter_context(sock) if (sock := _socket(fd)) is not None else None
            for fd in loop._selector.get_map()
            if fd != own_end
        }
        names = {fd: _name(sock.getsockname) for fd, sock in sockets.items() if sock is not None}
        for fd, sock in sockets.items():
            if sock is None:
                yield f"file descriptor {fd}"
            elif not _is_listening(sock):
                peer = _name(sock.getpeername)
                if not any(name == peer and other != fd for other, name in names.items()):
                    yield f"the connection to {peer}"


def _socket(fd: int) -> socket.socket | None:
    try:
        return socket.socket(fileno=os.dup(fd))  # the transport's own object is not to be had
    except OSError:
        return None


def _name(ask: Callable[[], object]) -> object:
    try:
        return ask() or "somebody"
    except OSError:
        return "somebody"


def _is_listening(sock: socket.socket) -> bool:
    """Whether it is a server's, which only somebody from outside the test could connect to."""
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def _thread_calls(loop: asyncio.AbstractEventLoop) -> Iterable[str]:
    for task in asyncio.all_tasks(loop):
        waiter = getattr(task, "_fut_waiter", None)
        callbacks = [callback for callback, *_ in getattr(waiter, "_callbacks", None) or ()]
        from_executor = any(getattr(c, "__qualname__", "").startswith("_chain_future.") for c in callbacks)
        innermost = list(await_chain(task.get_coro()))[-1:]
        if from_executor or any(frame.f_code.co_name == "run_sync_in_worker_thread" for frame in innermost):
            yield f"the thread that {task.get_name()} waits for"


def _threads(test_thread: int, old_threads: Mapping[int, Place]) -> Iterable[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident == threading.get_ident():
            continue
        is_the_tests = ident == test_thread
        is_back = _is_at(frame, old_threads.get(ident, [])) and not _runs_loop_for_test(frame, test_thread)
        if not (_waits_for_loop(frame) if is_the_tests else is_back or _is_idle_worker(frame)):
            yield f"thread {names.get(ident, ident)}"


def _processes() -> Iterable[str]:
    """Children that the loop knows nothing of: they may connect to a server of the test, or send it a signal."""
    if not hasattr(os, "waitid"):
        return
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return
    yield "a child process"


def _signals(loop: Any) -> Iterable[str]:
    if getattr(loop, "_signal_handlers", None):
        yield "a signal"


def _is_idle_worker(frame: FrameType) -> bool:
    """Whether a thread of a pool waits for work: of concurrent.futures, or of anyio."""
    functions = [_named(frame), _named(frame.f_back), _named(frame.f_back and frame.f_back.f_back)]
    return functions[0] == "concurrent.futures.thread._worker" or functions == [
        "threading.wait",
        "queue.get",
        "anyio._backends._asyncio.run",
    ]


def _waits_for_loop(frame: FrameType) -> bool:
    """Whether the test's thread waits, without end, for the answer of a loop (``TestClient`` and other portals)."""
    caller = frame.f_back
    if caller is None or _named(frame) != "threading.wait" or _named(caller) != "concurrent.futures._base.result":
        return False
    answer = caller.f_locals["self"]
    if answer is None:  # the thread has gone on while we looked
        return False
    # If the answer is there, the thread has only not come to it yet.
    return caller.f_locals["timeout"] is None and not answer.done()


def _runs_loop_for_test(frame: FrameType, test_thread: int) -> bool:
    """Whether a thread runs a loop that may have a timer, or may be the one that the test's thread waits for."""
    if frame.f_globals.get("__name__") != "selectors":
        return False
    return test_thread != threading.get_ident() or frame.f_locals.get("timeout") not in (None, -1)


def _is_at(frame: FrameType, old: Place) -> bool:
    """Whether `frame` is at the same expressions as `old`; a ``while`` compiles its condition twice."""
    place = _place(frame)
    return len(place) == len(old) and all(
        then is now and (before == after or _position(then, before) == _position(now, after))
        for (then, before), (now, after) in zip(old, place, strict=True)
    )


def _position(code: CodeType, instruction: int) -> object:
    return next(islice(code.co_positions(), instruction // 2, None), None)


def _place(frame: FrameType | None) -> Place:
    place = []
    while frame is not None:
        place.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return place


def _named(frame: FrameType | None) -> str:
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}" if frame else ""
