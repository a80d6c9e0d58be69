"""Accepted schedules: failures under a deviation that a project knows, and does not want to fail its tests yet."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from ..._introspect.untrusted import code_of_function
from .marks import ACCEPT

_listed: pytest.StashKey[list[tuple[str, str]]] = pytest.StashKey()


def read_ini(config: pytest.Config) -> None:
    """Read the ini list now, so that a wrong line ends the session before the first test."""
    config.stash[_listed] = [_split(line) for line in config.getini(ACCEPT)]


def _split(line: str) -> tuple[str, str]:
    """Return the test id and the schedule of a line; both may contain spaces."""
    from ..._explore.schedule import Schedule
    from ...errors import ScheduleSyntaxError

    for index in (index for index, character in enumerate(line) if character == " "):
        with suppress(ScheduleSyntaxError):
            Schedule.parse(line[index:].strip())
            return line[:index], line[index:].strip()
    raise pytest.UsageError(
        f"{ACCEPT}: {line!r} is not a test id, a space and a schedule\n  write e.g.  test_file.py::test_name client@1+1"
    )


def check_mark(item: Any) -> None:
    """Check the mark of a test, when it is collected."""
    from ..._explore.schedule import Schedule
    from ...errors import ScheduleSyntaxError

    for mark in item.iter_markers(ACCEPT):
        if mark.kwargs or not mark.args:
            raise pytest.UsageError(
                f"{_place(item)}: the mark {ACCEPT} takes schedules; write e.g. @pytest.mark.{ACCEPT}('client@1+1')"
            )
        for schedule in mark.args:
            try:
                Schedule.parse(schedule)
            except (ScheduleSyntaxError, TypeError) as error:
                raise pytest.UsageError(f"{_place(item)}: {error}") from None


def accepted_of(item: Any) -> list[str]:
    """Return the accepted schedules of a test: those of its marks and of the ini list."""
    marked = [schedule for mark in item.iter_markers(ACCEPT) for schedule in mark.args]
    listed = item.config.stash.get(_listed, [])
    return marked + [schedule for test, schedule in listed if test == item.nodeid]


def _place(item: Any) -> str:
    from ..._introspect.location import definition

    code = code_of_function(getattr(item, "obj", None))
    return item.nodeid if code is None else f"{item.nodeid} ({definition(code)})"
