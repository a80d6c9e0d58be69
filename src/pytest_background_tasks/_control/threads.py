"""The positions of threads, and the threads that may still do something.

Private names of CPython used here: the functions in which the threads of ``concurrent.futures`` and anyio wait.
"""

import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from types import CodeType, FrameType
from typing import TypeAlias

Place: TypeAlias = list[tuple[CodeType, int]]
"""The position of a thread: all its frames, the innermost first."""

_WITHOUT_END = (None, -1)  # timeouts that mean no limit


def places_of_threads() -> dict[int, Place]:
    """Return the present position of each thread, by its ident."""
    return {ident: _place(frame) for ident, frame in sys._current_frames().items()}


def is_at_work(test_thread: int) -> bool:
    """Return True if the test's thread is running: then the silence of a loop in another thread does not count."""
    frame = sys._current_frames().get(test_thread)
    if frame is None or test_thread == threading.get_ident():
        return False
    if frame.f_globals.get("__name__") != "threading" or frame.f_locals.get("timeout", 0) not in _WITHOUT_END:
        return True
    asking = _asking(frame)
    return asking is not None and _is_answered(asking)


def threads_at_work(test_thread: int, old_threads: Mapping[int, Place]) -> Iterable[str]:
    """Yield the threads that may have work: all but idle workers, and threads at the same position as before the test.

    Args:
        test_thread: the thread that runs the test.
        old_threads: the positions of the threads before the test.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident == threading.get_ident():
            continue
        is_the_tests = ident == test_thread
        is_back = is_at(frame, old_threads.get(ident, [])) and not _runs_loop_for_test(frame, test_thread)
        if not (_waits_for_loop(frame) if is_the_tests else is_back or _is_idle_worker(frame)):
            yield f"thread {names.get(ident, ident)}"


def _is_idle_worker(frame: FrameType) -> bool:
    """Return True if a thread of a pool (of concurrent.futures, or of anyio) waits for work."""
    functions = [named(frame), named(frame.f_back), named(frame.f_back and frame.f_back.f_back)]
    return functions[0] == "concurrent.futures.thread._worker" or functions == [
        "threading.wait",
        "queue.get",
        "anyio._backends._asyncio.run",
    ]


def _waits_for_loop(frame: FrameType) -> bool:
    """Return True if the test's thread waits without a timeout for the answer of a loop (``TestClient``, portals)."""
    asking = _asking(frame)
    return asking is not None and not _is_answered(asking) and asking.f_locals["timeout"] is None


def _asking(frame: FrameType) -> FrameType | None:
    """Return the frame of ``Future.result`` if its thread waits for the answer in `frame`."""
    caller = frame.f_back
    if caller is None or named(frame) != "threading.wait" or named(caller) != "concurrent.futures._base.result":
        return None
    return caller


def _is_answered(asking: FrameType) -> bool:
    """Return True if the answer is there, but the thread has not read it yet, or has resumed during this check."""
    answer = asking.f_locals["self"]
    return answer is None or answer.done()


def _runs_loop_for_test(frame: FrameType, test_thread: int) -> bool:
    """Return True if a thread runs a loop that may have a timer, or that the test's thread may wait for."""
    if frame.f_globals.get("__name__") != "selectors":
        return False
    return test_thread != threading.get_ident() or frame.f_locals.get("timeout") not in _WITHOUT_END


def is_at(frame: FrameType, old: Place) -> bool:
    """Return True if `frame` is at the same expressions as `old`; a ``while`` compiles its condition twice."""
    place = _place(frame)
    return len(place) == len(old) and all(
        then is now and (before == after or _position(then, before) == _position(now, after))
        for (then, before), (now, after) in zip(old, place, strict=True)
    )


def _position(code: CodeType, instruction: int) -> object:
    return next(islice(code.co_positions(), instruction // 2, None), None)


def _place(frame: FrameType) -> Place:
    return [(each.f_code, each.f_lasti) for each in frames_from(frame)]


def frames_from(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield `frame`, its caller, and so on."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def named(frame: FrameType | None) -> str:
    """Return the module and the plain name of the function of `frame`; empty if there is no frame."""
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}" if frame else ""
