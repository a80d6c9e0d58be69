"""The replay of one schedule: the check of its test, and the command line to type."""

from __future__ import annotations

from typing import Any

import pytest

from ..._introspect.text import indented
from .command_line import quoted, relative
from .marks import arguments_of
from .settings import OF_RUN, SETTINGS

_SHOWN = 10  # largest number of tests named if not exactly one is selected

_refused: pytest.StashKey[str] = pytest.StashKey()


def check_single(session: pytest.Session, explored: list[str]) -> None:
    """Check that exactly one explored test is selected for a replay.

    Args:
        session: the session, after collection.
        explored: the ids of its explored tests.

    Raises:
        pytest.UsageError: the message says what to type.
    """
    if len(explored) == 1 or session.testsfailed:  # collection errors are reported anyway
        return
    shown = indented(explored, _SHOWN)
    complaint = (
        f"--explore-replay needs exactly one explored test, but {len(explored) or 'none'} are selected{shown}\n"
        f"  write e.g.  pytest {quoted(explored[0]) if explored else 'test_file.py::test_name'} "
        f"--explore-replay {quoted('client@1+1')}"
        + ("" if explored or session.config.option.explore else "\n  a test without @explore needs --explore as well")
    )
    if not hasattr(session.config, "workerinput"):
        raise pytest.UsageError(complaint)
    session.config.stash[_refused] = complaint  # an error in a worker's collection crashes pytest-xdist


def check_allowed(config: pytest.Config) -> None:
    """Raise the error of `check_single` in a worker of pytest-xdist, where tests must report it."""
    __tracebackhide__ = True
    if _refused in config.stash:
        raise pytest.UsageError(config.stash[_refused])


def replay_line(item: Any, schedule: str) -> str:
    """Return the command that replays `schedule`, ready to paste.

    It includes the options of this command line that define a run; those of the ini file apply anyway.
    """
    given = [(setting.flag, getattr(item.config.option, setting.ini)) for setting in SETTINGS if setting.name in OF_RUN]
    options = [(flag, text) for flag, text in given if text is not None]
    words = ["pytest", quoted(relative(item.config, item.nodeid))]
    if arguments_of(item) is None:
        words.append("--explore")
    for flag, text in [*options, ("--explore-replay", schedule)]:
        # A value that looks like an option needs an equals sign.
        words += [f"{flag}={quoted(text)}"] if text.startswith("-") else [flag, quoted(text)]
    return " ".join(words)
