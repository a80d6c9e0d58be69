"""The options of ``@explore`` that can be set in the ini file and on the command line.

A keyword argument of ``@explore`` has priority, then the command line, then the ini file. So options that should differ
between a laptop and a nightly run do not belong in the test. For the seed and for a replay, which concern only one
session, the command line has priority.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from .command_line import quoted
from .marks import ACCEPT


class Setting:
    """An option: its name, parser, example value and help text."""

    def __init__(self, name: str, read: Callable[[str], Any], example: str, help: str) -> None:  # noqa: A002  # pytest's word
        self.name: str = name
        self.read: Callable[[str], Any] = read
        self.example: str = example
        self.help: str = help

    @property
    def ini(self) -> str:
        """The name in the ini file, and of the attribute of the parsed options."""
        return f"explore_{self.name}"

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return f"--{self.ini.replace('_', '-')}"


def _bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _words(text: str) -> str | tuple[str, ...]:
    return "any" if text.strip() == "any" else tuple(text.replace(",", " ").split())


SETTINGS = (
    Setting("max_schedules", int, "1000", "largest number of schedules to run (default: 1000)"),
    Setting("max_deviations", int, "2", "largest number of deviations in a schedule (default: 2)"),
    Setting("max_seconds", float, "60", "time limit of each test, in seconds of real time (default: no limit)"),
    Setting("max_steps", int, "10000", "steps after which a run counts as a livelock (default: 10000)"),
    Setting("arrivals", _words, "start sleep", "kinds of arrival to delay; 'any': every step (default: all kinds)"),
    Setting(
        "faults",
        _words,
        "cancel reset",
        "cancel, slow, reset, refused, eof, split or names of exceptions (default: none)",
    ),
    Setting("random_walks", int, "500", "number of random walks after the search (default: 0)"),
    Setting("fail_on_leaks", _bool, "true", "true: fail a test that leaves tasks pending at its end (default: false)"),
    Setting("virtual_clocks", _bool, "false", "false: time.time() and other clocks stay real (default: true)"),
    Setting("reseed_random", _bool, "false", "false: runs may draw different random numbers (default: true)"),
    Setting("exclude_fixtures", _words, "clean_db", "autouse fixtures that explored tests do not use (default: none)"),
    Setting("seed", str, "random", "seed of search and random numbers; 'random': a new one (default: the test's id)"),
)
OF_RUN = (
    "max_steps",
    "arrivals",
    "fail_on_leaks",
    "virtual_clocks",
    "reseed_random",
    "seed",
    "exclude_fixtures",
)  # define a run or its failure; a replay needs them
IN_SUITE: dict[str, Any] = {
    "max_deviations": 1,
    "max_schedules": 100,
    "max_seconds": 2.0,
    "arrivals": ("sleep", "thread", "answer", "network"),
}
"""The defaults under ``--explore``: external answers, and sleeps of equal length, which stand for them in fakes.

asyncio itself keeps the order of starts, of bare yields and of timers.
"""
REPLAY = Setting("replay", str, "client@1+1", "run only this schedule, of the one explored test that is selected")
REPORT = Setting("report", str, ".explore", "directory for HTML reports of failures, 'no' for none (default: .explore)")

_defaults: pytest.StashKey[dict[str, Any]] = pytest.StashKey()


def add_to(parser: pytest.Parser) -> None:
    """Register all options with pytest."""
    group = parser.getgroup("explore", "@explore: run tests in the orders that asyncio could have produced")
    for setting in (*SETTINGS, REPLAY):
        group.addoption(setting.flag, dest=setting.ini, default=None, metavar="TEXT", help=setting.help)
    group.addoption(
        "--explore-clear-failures",
        action="store_true",
        help="discard stored failing schedules of the selected tests instead of retrying them first",
    )
    group.addoption(
        "--explore",
        action="store_true",
        help="run each test as usual, then explore it with a small budget; it can only fail under a deviation",
    )
    group.addoption(
        "--explore-only-report",
        action="store_true",
        help="with --explore: list the tests that fail under a deviation in the summary, and let them pass",
    )
    group.addoption(
        "--explore-last",
        action="store_true",
        help="with --explore: explore after the last test, so that no test sees what extra runs leave behind",
    )
    group.addoption(
        "--explore-loop",
        choices=["asyncio"],
        help="with --explore: explore tests on asyncio's loop although their suite chooses another one",
    )
    group.addoption(
        "--explore-json",
        metavar="FILE",
        help="with --explore: write the outcome of each test to this file, as JSON",
    )
    parser.addini(
        ACCEPT, "schedules whose failure is accepted, one per line: test id, space, schedule", "linelist", default=[]
    )
    parser.addini(
        "explore_exclude",
        "with --explore: patterns of test ids not to explore, one per line",
        type="linelist",
        default=[],
    )
    group.addoption(REPORT.flag, dest=REPORT.ini, default=None, metavar="DIR", help=REPORT.help)
    parser.addini(REPORT.ini, f"@explore: {REPORT.help}", default=None)
    for setting in SETTINGS:
        parser.addini(setting.ini, f"@explore: {setting.help}", default=None)


def read(config: pytest.Config) -> None:
    """Read the options now, so that a wrong one ends the session before the first test.

    Raises:
        pytest.UsageError: the message says what to write.
    """
    for name in ("only_report", "last", "loop", "json"):
        if getattr(config.option, f"explore_{name}") and not config.option.explore:
            raise pytest.UsageError(
                f"--explore-{name.replace('_', '-')} has an effect only together with --explore; add it"
            )
    if config.option.explore_seed == "random":  # chosen here, because xdist workers receive a copy of the options
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
    from ..._explore.options import Options

    try:
        value = setting.read(text)
        if setting.name != "exclude_fixtures":
            Options.of({setting.name: value})
    except (ValueError, TypeError, KeyError) as error:
        why = str(error) if setting is REPLAY or str(error).startswith(setting.name) else "invalid value"
        example = quoted(setting.example) if line.startswith("--") else setting.example
        raise pytest.UsageError(f"{line}{text}: {why}\n  write e.g.  {line}{example}") from None
    return value


def options_of(item: pytest.Item, own: dict[str, Any]) -> dict[str, Any]:
    """Return the options of one test.

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


def options_in_suite(config: pytest.Config) -> dict[str, Any]:
    """Return the options of tests without ``@explore`` under ``--explore``: a small budget, unless others are set."""
    given = config.stash[_defaults]
    options = {**IN_SUITE, **given, "require_cancel": False}
    options.pop("exclude_fixtures", None)
    return options
