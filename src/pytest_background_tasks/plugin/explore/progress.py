"""The progress of a long exploration: a few words behind pytest's own on a terminal, and nothing in a log.

Private name of pytest used here, tested from 8.4 on: ``_tw`` of the terminal reporter.
"""

from __future__ import annotations

from typing import Any

from ..._introspect import real_clock

_FIRST = 1.0  # seconds until the first output; most explorations take less
_PAUSE = 0.25  # seconds between two outputs
_LEAST_WIDTH = 20  # columns


class Progress:
    """A context manager that shows how many schedules of a test were run.

    Args:
        config: the configuration of the session.
        largest: the largest number of schedules.
    """

    def __init__(self, config: Any, largest: int) -> None:
        plugins = config.pluginmanager
        reporter = plugins.getplugin("terminalreporter")
        self._writer: Any = None if reporter is None or not reporter.isatty else reporter._tw
        self._capture = plugins.getplugin("capturemanager")
        self._largest = largest
        self._next = real_clock.monotonic() + _FIRST
        self._shown = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._show("")

    def __call__(self, runs: int) -> None:
        """Show that this number of schedules were run."""
        if self._writer is None or real_clock.monotonic() < self._next:
            return
        self._next = real_clock.monotonic() + _PAUSE
        self._show(f" exploring: {runs} of {self._largest}")

    def _show(self, text: str) -> None:
        if self._writer is None or (not text and not self._shown):
            return
        width = self._writer.fullwidth - self._writer.width_of_current_line - 1
        if width < max(_LEAST_WIDTH, len(text)):
            return
        back = "\b" * len(self._shown)
        line = f"{back}{text}{' ' * (len(self._shown) - len(text))}"
        line += "\b" * max(0, len(self._shown) - len(text))
        if self._capture is None:
            self._write(line)
        else:
            with self._capture.global_and_fixture_disabled():
                self._write(line)
        self._shown = text

    def _write(self, text: str) -> None:
        self._writer._file.write(text)  # past the writer, which counts the columns of pytest's own line
        self._writer.flush()
