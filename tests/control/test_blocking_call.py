"""The call in which a thread blocks is read from its frame, in whatever way the call is written."""

import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import sleep
from types import FrameType
from typing import Any

import pytest

from pytest_background_tasks._control.blocking_call import ENTERING, ITERATING, blocking_call


class Holder:
    """The objects in which a thread can block."""

    def __init__(self) -> None:
        self.items: SimpleQueue[int | None] = SimpleQueue()
        self.lock = threading.Lock()
        self.lock.acquire()
        self.pipe = os.pipe()

    def release_all(self) -> None:
        self.lock.release()
        self.items.put(None)
        os.write(self.pipe[1], b"x")


def call_of_attribute(holder: Holder) -> None:
    holder.items.get()


def call_over_several_lines(holder: Holder) -> None:
    (
        holder
        .items
        .get(
            True,
            None,
        )
    )  # fmt: skip


def call_with_calls_in_arguments(holder: Holder) -> None:
    holder.lock.acquire(timeout=holder.items.qsize() + len(str(holder)))


def call_by_alias(holder: Holder) -> None:
    receive = holder.items.get
    receive()


def call_in_comprehension(holder: Holder) -> None:
    [holder.items.get() for _ in range(1)]


def call_with_unpacked_arguments(holder: Holder) -> None:
    holder.items.get(*(True, 5))


def with_statement(holder: Holder) -> None:
    with holder.lock:
        pass


def with_as_statement(holder: Holder) -> None:
    with holder.lock as got:
        assert got


def for_statement(holder: Holder) -> None:
    for _ in iter(holder.items.get, None):
        pass


def call_of_module_function(holder: Holder) -> None:
    os.read(holder.pipe[0], 1)


def call_of_imported_name(_: Holder) -> None:
    sleep(0.2)


CASES = {
    call_of_attribute: "get",
    call_over_several_lines: "get",
    call_with_calls_in_arguments: "acquire",
    call_by_alias: "get",
    call_in_comprehension: "get",
    call_with_unpacked_arguments: "get",
    with_statement: ENTERING,
    with_as_statement: ENTERING,
    for_statement: ITERATING,
    call_of_module_function: "read",
    call_of_imported_name: "sleep",
}


def blocked_in(function: Callable[[Any], None], thread: threading.Thread) -> FrameType:
    """Return the frame of `function` after its thread has blocked in it."""
    before: object = None
    while True:
        frame = sys._current_frames()[thread.ident or 0]
        inside = frame.f_code.co_filename == __file__ and function.__name__ in frame.f_code.co_qualname
        place = (frame.f_lasti, frame.f_lineno)
        if inside and place == before:
            return frame
        before = place if inside else None
        threading.Event().wait(0.01)


@pytest.mark.parametrize("function", CASES, ids=lambda function: function.__name__)
def test_blocking_call_is_named(function: Callable[[Holder], None]) -> None:
    holder = Holder()
    thread = threading.Thread(target=function, args=(holder,))
    thread.start()
    name = blocking_call(blocked_in(function, thread))
    holder.release_all()
    thread.join()
    assert name == CASES[function]


def test_frame_without_a_call_has_no_name() -> None:
    assert blocking_call(frame_at_yield()) == ""


def frame_at_yield() -> FrameType:
    def generator() -> Any:
        yield 1

    running = generator()
    next(running)
    return running.gi_frame


def test_call_that_the_interpreter_has_specialized_is_read() -> None:
    """CPython 3.11 calls a C function in another instruction once the calling code has run several times."""
    calls: list[str] = []

    class Watched:
        def __len__(self) -> int:
            calls.append(blocking_call(sys._getframe(1)))
            return 0

    def measure(thing: Watched) -> int:
        return len(thing)

    for _ in range(100):
        measure(Watched())
    assert calls == ["len"] * 100
