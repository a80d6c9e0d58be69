"""The kernel's word on a thread: whether it sleeps, and how often it has been given the processor.

A thread that another one wakes (by a lock it releases, an item it puts into a queue, data it writes to a socket) can be
run from that moment on, and the kernel says so before the other one continues. The state of the lock or the queue does
not tell: since 3.13, CPython hands both straight to the thread that waits.

On Linux; elsewhere nothing is known.
"""

import os
import threading
from typing import NamedTuple

_ENOUGH = 4096  # bytes; the file has about 1,500


class Naps(NamedTuple):
    """Equal ones mean that the thread has slept without interruption between the two moments.

    Attributes:
        is_asleep: whether it sleeps now, so that another thread, the kernel or a timeout must wake it.
        stops: how often it has stopped running, of itself or not.
    """

    is_asleep: bool
    stops: tuple[bytes, ...]


def naps(thread: threading.Thread) -> Naps | None:
    """Return those of `thread`; None where the kernel does not say, or the thread has ended."""
    lines = _read(thread, "status").split(b"\n")
    state = next((line for line in lines if line.startswith(b"State:")), b"")
    stops = tuple(line for line in lines if b"ctxt_switches" in line)
    return Naps(b"\tS" in state, stops) if stops else None


def is_in_lock(thread: threading.Thread) -> bool:
    """Return whether `thread` sleeps in a lock, not in a file or for a time; False where the kernel does not say."""
    return b"futex" in _read(thread, "wchan")


def _read(thread: threading.Thread, name: str) -> bytes:
    try:
        file = os.open(f"/proc/self/task/{thread.native_id}/{name}", os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(file, _ENOUGH)
    except OSError:
        return b""
    finally:
        os.close(file)
