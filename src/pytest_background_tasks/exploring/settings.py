"""The options of ``@explore`` that have a default in the ini file and on the command line.

A keyword argument of ``@explore`` is the test's own and wins; then comes the command line, then the ini file. So what
is to differ between a laptop and a nightly run is left out in the test. Only a replay, and the order of the search, are
matters of one session: there the command line wins.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest


class Setting:
    """One option: how it is read from a text, an example of one, and what it does."""

    def __init__(self, name: str, read: Callable[[str], Any], example: str, help: str) -> None:  # noqa: A002  # pytest's word
        self.name: str = name
        self.read: Callable[[str], Any] = read
        self.example: str = example
        self.help: str = help

    @property
    def ini(self) -> str:
        """Its name in the ini file, which is also that of its attribute among the parsed options."""
        return f"explore_{self.name}"

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return f"--{self.ini.replace('_', '-')}"


def _bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _words(text: str) -> str | tuple[str, ...]:
    return "any" if text.strip() == "any" else tuple(text.replace(",", " ").split())


SETTINGS = (
    Setting("max_schedules", int, "1000", "how many schedules to play at most (default: 1000)"),
    Setting("max_deviations", int, "2", "how many deviations a schedule has at most (default: 2)"),
    Setting("max_seconds", float, "60", "seconds of real time that one test may explore (default: no limit)"),
    Setting("max_steps", int, "10000", "steps after which a run counts as a livelock (default: 10000)"),
    Setting("arrivals", _words, "start sleep", "kinds of arrival that may come late, or 'any' (default: all kinds)"),
    Setting("cancel", _bool, "true", "whether to cancel, once per run, a task that the test starts (default: false)"),
    Setting("slow", _bool, "true", "whether answers may outlast the next timer (default: false)"),
    Setting("samples", int, "500", "random walks to take after the search (default: 0)"),
    Setting("leaks", _bool, "true", "whether tasks pending at a test's end are a failure (default: false)"),
    Setting("without", _words, "clean_db", "autouse fixtures that explored tests do without (default: none)"),
    Setting("seed", str, "random", "decides the order of the search; 'random' for a new one (default: the test's id)"),
)
OF_RUN = ("max_steps", "arrivals", "leaks", "without")  # say what a run is, or when one has failed; a replay needs them
REPLAY = Setting("replay", str, "client@1+1", "play only this schedule, of the one explored test that is selected")
REPORT = Setting("report", str, ".explore", "folder for pages that show failures, 'no' for none (default: .explore)")

_defaults: pytest.StashKey[dict[str, Any]] = pytest.StashKey()


def add_to(parser: pytest.Parser) -> None:
    """Let pytest know of all of them."""
    group = parser.getgroup("explore", "@explore: every order that asyncio could have produced")
    for setting in (*SETTINGS, REPLAY):
        group.addoption(setting.flag, dest=setting.ini, default=None, metavar="TEXT", help=setting.help)
    group.addoption(
        "--explore-forget",
        action="store_true",
        help="do not try first what failed last time, and forget it, for each test that is run",
    )
    group.addoption(REPORT.flag, dest=REPORT.ini, default=None, metavar="DIR", help=REPORT.help)
    parser.addini(REPORT.ini, f"@explore: {REPORT.help}", default=None)
    for setting in SETTINGS:
        parser.addini(setting.ini, f"@explore: {setting.help}", default=None)


def read(config: pytest.Config) -> None:
    """Read them now, so that a wrong one ends the session before it has begun.

    Raises:
        pytest.UsageError: says what to write.
    """
    if config.option.explore_seed == "random":  # chosen here, for workers of xdist get the options as they are then
        config.option.explore_seed = str(random.randrange(10**6))
    given = {}
    for setting in (*SETTINGS, REPLAY):
        text, line = getattr(config.option, setting.ini), f"{setting.flag}="
        if text is None and setting is not REPLAY:
            text, line = config.getini(setting.ini), f"{setting.ini} = "
        if text is not None:
            given[setting.name] = _checked(setting, text, line)
    config.stash[_defaults] = given


def _checked(setting: Setting, text: str, line: str) -> Any:
    from ..explorer.options import Options

    try:
        value = setting.read(text)
        if setting.name != "without":
            Options.of({setting.name: value})
    except (ValueError, TypeError, KeyError) as error:
        why = str(error) if setting is REPLAY or str(error).startswith(setting.name) else "cannot be read"
        from .replay import quoted

        example = quoted(setting.example) if line.startswith("--") else setting.example
        raise pytest.UsageError(f"{line}{text}: {why}\n  write e.g.  {line}{example}") from None
    return value


def options_of(item: pytest.Item, own: dict[str, Any]) -> dict[str, Any]:
    """What holds for one test.

    Args:
        item: the test; its id is the default seed.
        own: the keyword arguments of its ``@explore``.
    """
    defaults = item.config.stash[_defaults]
    command_line = {
        name: defaults[name]
        for name in ("seed", "replay")
        if getattr(item.config.option, f"explore_{name}") is not None
    }
    return {"seed": item.nodeid, **defaults, **own, **command_line}
