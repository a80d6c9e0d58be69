"""The single thread that runs what the program sends to threads, while the loop waits."""

import threading
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from ..errors import UncontrolledOperation
from .foreign_threads import ForeignThreads

LIMIT = 5.0
"""Seconds of real time that one function may take, unless another limit is given."""


class HelperThread:
    """A daemon thread that runs one function at a time; it is started on first use.

    Args:
        limit: seconds of real time that one function may take. Functions of a test take milliseconds; a function that
            waits for the loop, which waits for the function, never returns.

    Attributes:
        foreign: the other threads.
        asked: the number of answers that existed at the last call.
    """

    def __init__(self, limit: float = LIMIT) -> None:
        self._limit = limit
        self.foreign: ForeignThreads = ForeignThreads()
        self.asked: int = 0
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def ident(self) -> int | None:
        """The thread's identifier, None before its start."""
        return None if self._thread is None else self._thread.ident

    def run(self, function: Callable[[], object]) -> tuple[Any, BaseException | None]:
        """Return the result of `function`, and the error that it raised or None.

        Raises:
            UncontrolledOperation: `function` takes more than the limit; the message names it.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="explorer's helper", daemon=True)
            self._thread.start()
            self.foreign.know(self._thread)
        self._calls.put(function)
        try:
            return self._answers.get(timeout=self._limit)
        except Empty:
            self._thread = None  # the thread is lost
            raise UncontrolledOperation(
                f"{_name(function)} took more than {self._limit:g} s of real time in a thread\n"
                f"An exploration blocks the loop until such a function returns, so one that waits for the loop "
                f"(from_thread.run, run_coroutine_threadsafe(...).result()) never returns. Use a fake in the test"
            ) from None

    def __enter__(self) -> "HelperThread":
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        calls, answers = self._calls, self._answers
        while function := calls.get():
            answer: tuple[Any, BaseException | None]
            try:
                answer = function(), None
            except BaseException as error:  # any exception is the answer
                answer = None, error
            answers.put(answer)
            del function, answer


def _name(function: Any) -> str:
    while isinstance(function, partial):  # to_thread sends Context.run, with the function as first argument
        is_context_run = getattr(function.func, "__name__", "") == "run" and function.args
        function = function.args[0] if is_context_run else function.func
    return getattr(function, "__qualname__", None) or repr(function)
