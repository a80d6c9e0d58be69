"""The fixtures that an explored test may use, and those that it excludes."""

from __future__ import annotations

from typing import Any

import pytest


def check(item: Any, without: tuple[str, ...], *, is_default: bool) -> None:
    """Remove the excluded fixtures of a test, and refuse fixtures that cannot be explored. Called before setup.

    Args:
        item: the test.
        without: names of the fixtures to exclude.
        is_default: True if the names come from the ini file or the command line; then a test need not have them all.

    Raises:
        pytest.UsageError: the message names the fixture and says what to write instead.
    """
    __tracebackhide__ = True
    for name in without:
        if name in item._fixtureinfo.argnames:
            raise pytest.UsageError(
                f"{item.name} requests {name}, and exclude_fixtures= excludes it; remove one of the two"
            )
        if name not in item.fixturenames and not is_default:
            there = ", ".join(sorted(set(item.fixturenames) - {"request"})) or "none"
            raise pytest.UsageError(f"exclude_fixtures={name!r}: {item.name} has no such fixture; it has: {there}")
    for name in without:
        if name in item.fixturenames and (needing := _needing(item, name, without)):
            raise pytest.UsageError(
                f"exclude_fixtures={name!r}: the fixture {needing} of {item.name} requests it; "
                f"exclude that too, or remove {name} from exclude_fixtures="
            )
    item.fixturenames = [name for name in item.fixturenames if name not in without]
    for name in item.fixturenames:
        check_fixture(item, name)


def check_fixture(item: Any, name: str) -> None:
    """Refuse a fixture that an explored test cannot use.

    Args:
        item: the test.
        name: the name of the fixture.

    Raises:
        pytest.UsageError: the message names the fixture and says what to write instead.
    """
    __tracebackhide__ = True
    if name == "virtual_time":
        raise pytest.UsageError(_NO_VIRTUAL_TIME.format(item.name))
    if name == "subtests":
        raise pytest.UsageError(_NO_SUBTESTS.format(item.name))


def _needing(item: Any, name: str, without: tuple[str, ...] = ()) -> str:
    """Return the name of a fixture of the test that requests the fixture `name`; empty if there is none."""
    known = item._fixtureinfo.name2fixturedefs
    for other in item.fixturenames:
        if other != name and other not in without and other in known and name in known[other][-1].argnames:
            return str(other)
    return ""


_NO_VIRTUAL_TIME = """\
{} is explored, and an exploration provides virtual time already; remove the fixture virtual_time
  instead of  virtual_time.now                      write  asyncio.get_running_loop().time() - start
  instead of  await virtual_time.advance(seconds)   write  await asyncio.sleep(seconds)"""

_NO_SUBTESTS = """\
{} is explored, and an exploration cannot see failures inside subtests
Remove the subtests fixture and use plain assertions"""
