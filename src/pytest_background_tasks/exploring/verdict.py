"""One explored test: exploring it, and what is reported of it."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from ..explorer.exploration import Exploration
from ..explorer.explorer import Explorer
from ..report.section import section
from ..report.text import Row, plain
from ..session import own_code
from .decorator import Explored
from .rounds import Rounds
from .settings import options_of

_PACKAGE = str(Path(__file__).parent.parent)
_PASSES_THROUGH = (pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception)

_NAME = "explore"
_MARKUP: dict[str, dict[str, bool]] = {
    "": {},
    "name": {"bold": True},
    "aside": {"light": True},
    "differs": {"yellow": True, "bold": True},
    "fails": {"red": True},
}

_exploration: pytest.StashKey[Exploration] = pytest.StashKey()


def explore_item(item: Any, explored: Explored) -> None:
    """Explore a test, and raise what it fails with."""
    __tracebackhide__ = True
    options = options_of(item, explored.options)
    options.pop("without", None)
    is_own = own_code(item.config)
    is_own[explored.test.__code__.co_filename] = True  # the test's module, wherever it lies (--pyargs)
    rounds = Rounds(item, explored.test)
    try:
        exploration = Explorer(**options, passes_through=_PASSES_THROUGH, is_own=is_own).explore(rounds)
    except BaseException as error:
        raise error.with_traceback(_of_user(error.__traceback__)) from error.__cause__
    item.stash[_exploration] = exploration
    if exploration.failure is not None:
        raise exploration.failure.error
    item.user_properties += [
        ("explore", str(exploration)),
        ("explore_short", f"{exploration.verdict}, {exploration.runs} runs, {exploration.distinct} distinct"),
    ]


def _of_user(traceback: TracebackType | None) -> TracebackType | None:
    """Without our own frames, which come first."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        traceback = traceback.tb_next
    return traceback


def add_to_report(item: Any, report: pytest.TestReport) -> None:
    """Say below the traceback of a failed test how it came about."""
    shown: Any = report.longrepr
    if hasattr(shown, "reprtraceback"):
        # Of a deadlock there is no line of code, and "All traceback entries are hidden" is no help.
        shown.reprtraceback.extraline = None
    exploration = item.stash.get(_exploration, None)
    if exploration is None or exploration.failure is None:
        return
    del item.stash[_exploration]  # the item lives as long as the session
    rows = section(exploration, replay_line(item, exploration), _width(item.config), is_replay=_is_replay(item))
    if hasattr(shown, "addsection"):
        shown.addsection(_NAME, plain(rows))
        _paint(shown, rows)
    else:
        report.sections.append((_NAME, plain(rows)))


def _width(config: pytest.Config) -> int:
    """That of pytest's terminal; a worker of pytest-xdist has none."""
    if config.pluginmanager.hasplugin("terminalreporter"):
        return config.get_terminal_writer().fullwidth
    return shutil.get_terminal_size().columns


def _paint(shown: Any, rows: list[Row]) -> None:
    """Let our section be coloured where a terminal shows colours; for junit and others it is plain text."""
    write = shown.toterminal

    def to_terminal(writer: Any) -> None:
        if not writer.hasmarkup:
            write(writer)
            return
        sections = shown.sections
        shown.sections = [each for each in sections if each[0] != _NAME]
        write(writer)
        shown.sections = sections
        writer.sep("-", _NAME)
        for row in rows:
            for span in row:
                writer.write(span.text, **_MARKUP[span.tone])
            writer.line()

    shown.toterminal = to_terminal


def _is_replay(item: Any) -> bool:
    return bool(options_of(item, item.obj._explored.options).get("replay") is not None)


def replay_line(item: Any, exploration: Exploration) -> str:
    """What to type to see the failure again."""
    assert exploration.failure is not None
    test = item.config.cwd_relative_nodeid(item.nodeid)
    return f"pytest {shlex.quote(test)} --explore-replay {shlex.quote(str(exploration.failure.schedule))}"
