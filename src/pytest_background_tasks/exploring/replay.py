"""The replay of one schedule: which test it is of, and what to type for it."""

from __future__ import annotations

import re
import shlex
import sys
from typing import Any

import pytest

from .nodeid import relative
from .settings import OF_RUN, SETTINGS

_SHOWN = 10  # explored tests that are named where there should be one

_refused: pytest.StashKey[str] = pytest.StashKey()


def check_one(session: pytest.Session, explored: list[str]) -> None:
    """A replay is of one test.

    Args:
        session: has collected its tests.
        explored: the ids of those that are explored.

    Raises:
        pytest.UsageError: says what to type.
    """
    if len(explored) == 1 or session.testsfailed:  # what could not be collected says so itself
        return
    shown = "".join(f"\n  {name}" for name in explored[:_SHOWN])
    more = f"\n  and {len(explored) - _SHOWN} more" if len(explored) > _SHOWN else ""
    complaint = (
        f"--explore-replay plays one test, and {len(explored) or 'no'} explored tests are selected{shown}{more}\n"
        f"  write e.g.  pytest {quoted(explored[0]) if explored else 'test_file.py::test_name'} "
        f"--explore-replay {quoted('client@1+1')}"
    )
    if not hasattr(session.config, "workerinput"):
        raise pytest.UsageError(complaint)
    session.config.stash[_refused] = complaint  # pytest-xdist dies of an error in a worker's collection


def check_allowed(config: pytest.Config) -> None:
    """In a worker of pytest-xdist, where the tests have to say it: whether `check_one` has refused the replay."""
    __tracebackhide__ = True
    if _refused in config.stash:
        raise pytest.UsageError(config.stash[_refused])


def replay_line(item: Any, schedule: str) -> str:
    """What to type to see `schedule` again, ready to paste.

    With those options of this command line that say what a run is; those of the ini file hold in any case.
    """
    given = [(setting.flag, getattr(item.config.option, setting.ini)) for setting in SETTINGS if setting.name in OF_RUN]
    options = [(flag, text) for flag, text in given if text is not None]
    words = ["pytest", quoted(relative(item.config, item.nodeid))]
    for flag, text in [*options, ("--explore-replay", schedule)]:
        # What begins like an option is none only behind an equals sign.
        words += [f"{flag}={quoted(text)}"] if text.startswith("-") else [flag, quoted(text)]
    return " ".join(words)


def quoted(text: str, *, is_windows: bool = sys.platform == "win32") -> str:
    """`text` as one word of a command line: as POSIX shells read it, or as programs do on Windows.

    There, single quotes do not quote; double quotes do in each of its shells. A double quote inside is escaped as C
    programs expect it.

    >>> quoted("test_it.py::test_it[a b]", is_windows=False), quoted("test_it.py::test_it[a b]", is_windows=True)
    ("'test_it.py::test_it[a b]'", '"test_it.py::test_it[a b]"')
    """
    if not is_windows:
        return shlex.quote(text)
    if re.fullmatch(r"[\w@+=:./\\-]+", text, re.ASCII):
        return text
    return '"{}"'.format(
        re.sub(r'(\\*)("|\Z)', lambda found: found[1] * 2 + ("\\" if found[2] else "") + found[2], text)
    )
