"""Silence around explored runs of a suite: only its usual runs, and a failing run, are heard and measured.

Private names used here: of pytest, tested from 8.4 on, the handlers of the logging plugin; of pytest-cov, its
``cov_controller``.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from .stash import TIMEOUT

_MUTE = logging.CRITICAL + 1


class ExtraRuns:
    """The explored runs of a test inside `quiet`.

    Args:
        item: the test.

    Attributes:
        output: the output of the last run, if pytest does not capture it (``-s``).
    """

    def __init__(self, item: Any) -> None:
        self._item = item
        self.output: StringIO = StringIO()

    def begin(self) -> None:
        """Forget the output of the run before, and start the timer of pytest-timeout anew: its limit is for one run."""
        self.output.seek(0)
        self.output.truncate()
        if (settings := self._item.stash.get(TIMEOUT, None)) is not None and hasattr(signal, "SIGALRM"):
            self.stop_timer()  # its method "thread" would end the session
            self._item.ihook.pytest_timeout_set_timer(item=self._item, settings=settings._replace(method="signal"))

    def stop_timer(self) -> None:
        """Stop the timer of pytest-timeout."""
        if (cancel := getattr(self._item.ihook, "pytest_timeout_cancel_timer", None)) is not None:
            cancel(item=self._item)


def _ignore(_: object) -> None: ...


@contextmanager
def quiet(item: Any) -> Iterator[ExtraRuns]:
    """Suspend live output, the live log, recorded warnings and coverage inside the block."""
    plugins = item.config.pluginmanager
    runs = ExtraRuns(item)
    output = runs.output
    with ExitStack() as stack:
        if item.config.getoption("capture", "fd") in ("no", "tee-sys"):
            stack.enter_context(redirect_stdout(output))
            stack.enter_context(redirect_stderr(output))
        if (log := plugins.getplugin("logging-plugin")) is not None:
            for handler in (log.log_cli_handler, log.log_file_handler):
                stack.callback(handler.setLevel, handler.level)
                handler.setLevel(_MUTE)
        if (controller := getattr(plugins.getplugin("_cov"), "cov_controller", None)) is not None:
            controller.pause()
            stack.callback(controller.resume)
        runs.stop_timer()
        stack.callback(runs.stop_timer)
        for owner, name in ((sys, "unraisablehook"), (threading, "excepthook")):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, _ignore)
        stack.enter_context(warnings.catch_warnings(record=True))
        yield runs


class Captured:
    """The captured output and log of a phase of a test; pytest itself has one section for each phase.

    Args:
        item: the test.
    """

    def __init__(self, item: Any) -> None:
        plugins = item.config.pluginmanager
        self._item = item
        self._capture = plugins.getplugin("capturemanager")
        self._logging = plugins.getplugin("logging-plugin")

    def take(self) -> list[tuple[str, str]]:
        """Return what was captured since the last call, by the name of its section."""
        return [(name, text) for name, text in self._taken() if text]

    def _taken(self) -> Iterator[tuple[str, str]]:
        if self._capture is not None:
            out, err = self._capture.read_global_capture()
            yield "stdout", out
            yield "stderr", err
        if self._logging is not None:
            handler = self._logging.report_handler
            yield "log", handler.stream.getvalue().strip()
            handler.reset()


def restoring(item: Any) -> Callable[[], None]:
    """Return a function that restores the sections and properties that the report of `item` has now."""
    sections, properties = list(item._report_sections), list(item.user_properties)

    def restore() -> None:
        item._report_sections[:], item.user_properties[:] = sections, properties

    return restore
