"""Ctrl-C during an exploration: it ends the exploration, even if code that Python or a program protects has caught it.

Python ignores what a destructor or the callback of a weak reference raises, and a Ctrl-C is raised wherever the program
is at that moment.
"""

import signal
import threading
from types import FrameType


class Interrupts:
    """A context manager that notes each Ctrl-C in the main thread, unless another handler than Python's is set."""

    def __init__(self) -> None:
        self._is_pending = False
        self._is_installed = False

    def __enter__(self) -> "Interrupts":
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._on_signal)
            self._is_installed = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_installed and signal.getsignal(signal.SIGINT) == self._on_signal:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._is_pending = True
        signal.default_int_handler(number, frame)

    def check(self) -> None:
        """Raise the `KeyboardInterrupt` of a Ctrl-C that was lost."""
        if self._is_pending:
            raise KeyboardInterrupt
