"""The kernel's view of a thread: whether it sleeps, and how often it has stopped running.

A thread that another one wakes (by a lock it releases, an item it puts into a queue, data it writes to a socket) is
runnable from that moment on, and the kernel reports that before the other one continues. The state of the lock or the
queue does not show it: since 3.13, CPython passes both directly to the waiting thread.

This works on Linux; on other systems, nothing is known.
"""

import os
import threading
from typing import NamedTuple

_ENOUGH = 4096  # bytes; the file has about 1,500


class Naps(NamedTuple):
    """The naps of a thread up to one moment; two equal values mean that it has slept without interruption in between.

    Attributes:
        is_asleep: whether the thread sleeps now, so that another thread, the kernel or a timeout must wake it.
        stops: how often the thread has stopped running, voluntarily or not.
    """

    is_asleep: bool
    stops: tuple[bytes, ...]


def naps(thread: threading.Thread) -> Naps | None:
    """Return the naps of `thread`; None if the kernel does not report them, or the thread has ended."""
    lines = _read(thread, "status").split(b"\n")
    state = next((line for line in lines if line.startswith(b"State:")), b"")
    stops = tuple(line for line in lines if b"ctxt_switches" in line)
    return Naps(b"\tS" in state, stops) if stops else None


def is_in_lock(thread: threading.Thread) -> bool:
    """Return True if `thread` sleeps in a lock, not in a file or for a time; False if the kernel does not say."""
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
