"""The one thread in which an exploration runs what the program sends to threads, while the loop waits."""

import threading
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from ..errors import NotPlayable
from .foreign import ForeignThreads

LIMIT = 5.0
"""Seconds of real time that one function may take. A test's functions take milliseconds; one that waits for the loop,
which waits for it, takes for ever."""


class HelperThread:
    """Runs one function at a time; made when it is first needed, and by itself no reason for Python not to exit.

    Attributes:
        foreign: the threads beside it.
        asked: how many answers were there already when it was asked last.
    """

    def __init__(self) -> None:
        self.foreign: ForeignThreads = ForeignThreads()
        self.asked: int = 0
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def ident(self) -> int | None:
        """The thread's number, None if there is none yet."""
        return None if self._thread is None else self._thread.ident

    def run(self, function: Callable[[], object]) -> tuple[Any, BaseException | None]:
        """What `function` returns, or what it raises.

        Raises:
            NotPlayable: if it takes more than `LIMIT` seconds; names it.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="explorer's helper", daemon=True)
            self._thread.start()
            self.foreign.know(self._thread)
        self._calls.put(function)
        try:
            return self._answers.get(timeout=LIMIT)
        except Empty:
            self._thread = None  # it is lost
            raise NotPlayable(
                f"{_name(function)} was sent to a thread and took more than {LIMIT:g} s of real time\n"
                f"While exploring, the loop waits for it: what waits for the loop in turn (from_thread.run, "
                f"run_coroutine_threadsafe(...).result()) never ends. Replace it in the test by a fake"
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
            except BaseException as error:  # whatever it is, it is the answer
                answer = None, error
            answers.put(answer)
            del function, answer


def _name(function: Any) -> str:
    while isinstance(function, partial):  # to_thread: Context.run, with the function as its first argument
        is_context_run = getattr(function.func, "__name__", "") == "run" and function.args
        function = function.args[0] if is_context_run else function.func
    return getattr(function, "__qualname__", None) or repr(function)
