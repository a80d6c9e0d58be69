"""The schedules that failed last time, kept in pytest's cache and tried first the next time.

One key per test, named after the hash of its id, for ids are no file names. Under pytest-xdist the workers read, and
the controller alone writes: what failed comes to it with the report.

A test that passes has nothing kept. One that fails in asyncio's own order, or cannot be explored, says nothing about
what is kept of it, and neither does a replay that somebody has typed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from ..properties import value_of

if TYPE_CHECKING:
    from ..explorer.schedule import Schedule

KEPT = "explore_kept"
"""The name of the plugin that a `Kept` is."""


class Kept:
    """What is kept for the next session.

    Args:
        config: its cache is used; without one (``-p no:cacheprovider``) nothing is kept.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._cache: Any = getattr(config, "cache", None)
        self._forgets = config.option.explore_forget
        is_worker = hasattr(config, "workerinput")
        self._writes = self._cache is not None and not is_worker and config.option.explore_replay is None

    def schedules_of(self, test: str) -> list[Schedule]:
        """Under which the test with this id failed last time: one, or none."""
        from ..errors import ScheduleSyntaxError
        from ..explorer.schedule import Schedule

        kept: Any = None if self._cache is None or self._forgets else self._cache.get(_key(test), None)
        with suppress(TypeError, KeyError, ScheduleSyntaxError):  # whatever somebody has written there
            return [Schedule.parse(kept["schedule"])]
        return []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what has failed; forget it when the test passes."""
        if not self._writes:
            return
        if self._forgets and report.when == "setup":
            self._keep(report.nodeid, None)
        if report.when != "call":
            return
        verdict = value_of("explore_verdict", report.user_properties)
        if verdict == "failed":
            if schedule := value_of("explore_schedule", report.user_properties):
                self._keep(report.nodeid, schedule)
        elif verdict is not None:
            self._keep(report.nodeid, None)

    def _keep(self, test: str, schedule: object) -> None:
        key = _key(test)
        if schedule or self._cache.get(key, None) is not None:
            self._cache.set(key, schedule and {"test": test, "schedule": schedule})


def _key(test: str) -> str:
    import hashlib

    return f"explore/{hashlib.sha1(test.encode(), usedforsecurity=False).hexdigest()}"
