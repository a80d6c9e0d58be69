"""The schedules that failed in the last session, stored in pytest's cache and tried first in the next session.

Each test has one key, the hash of its id, because an id is not a valid file name. Under pytest-xdist the workers read
and only the controller writes: it receives the failing schedule with the report.

When a test passes, its stored schedule is removed. A test that fails in asyncio's default order, or that cannot be
explored, does not change its stored schedule; neither does a replay from the command line.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from ..report_properties import OUTCOME_OF_REPORT, value_of

if TYPE_CHECKING:
    from ..._explore.schedule import Schedule

FAILURE_CACHE = "explore_failure_cache"
"""The name of the plugin `FailureCache`."""


class FailureCache:
    """The plugin that stores failing schedules for the next session.

    Args:
        config: its cache is used; without one (``-p no:cacheprovider``) no schedule is stored.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._cache: Any = getattr(config, "cache", None)
        self._forgets = config.option.explore_clear_failures
        is_worker = hasattr(config, "workerinput")
        self._writes = self._cache is not None and not is_worker and config.option.explore_replay is None

    def schedules_of(self, test: str) -> list[Schedule]:
        """Return the schedule that failed last time for the test with this id, in a list; empty if there is none."""
        from ..._explore.schedule import Schedule
        from ...errors import ScheduleSyntaxError

        cache: Any = None if self._cache is None or self._forgets else self._cache.get(_key(test), None)
        with suppress(TypeError, KeyError, ScheduleSyntaxError):  # the cache may have been edited
            return [Schedule.parse(cache["schedule"])]
        return []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Store the schedule of a failure; remove it when the test passes."""
        if self._writes and self._forgets and report.when == "setup":
            self._keep(report.nodeid, None)
        if report.when != "call":
            return
        outcome = getattr(report, OUTCOME_OF_REPORT, None) or {}  # of a suite; the failure may be only reported
        verdict = outcome.get("verdict") or value_of("explore_verdict", report.user_properties)
        schedule = outcome.get("schedule") or value_of("explore_schedule", report.user_properties)
        self.update(report.nodeid, verdict, schedule)

    def update(self, test: str, verdict: str | None, schedule: str | None) -> None:
        """Store the schedule that fails, or remove the stored one; keep it if the test was not explored."""
        if self._writes and verdict is not None and (verdict != "failed" or schedule):
            self._keep(test, schedule)

    def _keep(self, test: str, schedule: object) -> None:
        key = _key(test)
        if schedule or self._cache.get(key, None) is not None:
            self._cache.set(key, schedule and {"test": test, "schedule": schedule})


def _key(test: str) -> str:
    import hashlib

    return f"explore/{hashlib.sha1(test.encode(), usedforsecurity=False).hexdigest()}"
