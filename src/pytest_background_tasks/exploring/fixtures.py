"""Which fixtures an explored test may have, and those that it does without."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from ..sites import definition


def check(item: Any, without: tuple[str, ...], *, is_default: bool) -> None:
    """Take out what the test does without, and refuse what cannot be in an explored test. Called before setup.

    Args:
        item: the test.
        without: names of fixtures.
        is_default: whether these come from the ini file or the command line; there they need not be in every test.

    Raises:
        pytest.UsageError: names the fixture, and says what to write instead.
    """
    __tracebackhide__ = True
    for name in without:
        if name in item._fixtureinfo.argnames:
            raise pytest.UsageError(f"{item.name} asks for {name}, and without= names it; drop one of the two")
        if name not in item.fixturenames and not is_default:
            there = ", ".join(sorted(set(item.fixturenames) - {"request"})) or "none"
            raise pytest.UsageError(f"without={name!r}: {item.name} has no such fixture; it has: {there}")
    item.fixturenames = [name for name in item.fixturenames if name not in without]
    for name, function in _functions(item):
        check_one(item, name, function)


def check_one(item: Any, name: str, function: Any) -> None:
    """Refuse a fixture that cannot be in an explored test.

    Args:
        item: the test.
        name: the fixture's.
        function: what makes it, maybe wrapped by a plugin for async fixtures.

    Raises:
        pytest.UsageError: names it, and says what to write instead.
    """
    __tracebackhide__ = True
    function = inspect.unwrap(function)
    if name == "virtual_time":
        raise pytest.UsageError(_NO_VIRTUAL_TIME.format(item.name))
    if name == "subtests":
        raise pytest.UsageError(_NO_SUBTESTS.format(item.name))
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise pytest.UsageError(_no_async(item, name, function))


_NO_VIRTUAL_TIME = """\
{} is explored, and that is on virtual time already; drop the fixture virtual_time
  instead of  virtual_time.now                      write  asyncio.get_running_loop().time() - start
  instead of  await virtual_time.advance(seconds)   write  await asyncio.sleep(seconds)"""

_NO_SUBTESTS = """\
{} is explored, and what fails in a subtest is kept from whoever runs it, so no order would be seen to fail; drop the \
fixture subtests, and write plain assertions"""


def has_own(item: Any) -> bool:
    """Whether the test has fixtures that must be fresh in every run: of function scope, or asked for on the way."""
    known = item._fixtureinfo.name2fixturedefs
    return any(
        name == "request" or (name in known and known[name][-1].scope == "function") for name in item.fixturenames
    )


def _functions(item: Any) -> Iterator[tuple[str, Any]]:
    """The functions of all fixtures that the test has."""
    for name in item.fixturenames:
        for fixture in reversed(item._fixtureinfo.name2fixturedefs.get(name, ())):
            yield name, fixture.func
            if name not in fixture.argnames:  # else it extends the one that it overrides
                break


def _no_async(item: Any, name: str, function: Any) -> str:
    with_it = f"async with {name}_of_the_test() as {name}" if inspect.isasyncgenfunction(function) else ""
    instead = (
        f"  make it an asynccontextmanager, say {name}_of_the_test, and write inside the test:\n      {with_it}:"
        if with_it
        else f"  make it a plain coroutine function, and write inside the test:\n      {name} = await make_{name}()"
    )
    optional = "" if name in item._fixtureinfo.argnames else (f"\nor do without it:  @explore(without=[{name!r}])")
    return (
        f"{item.name} is explored, and its fixture {name} is async ({definition(function.__code__)})\n"
        f"Each run has a loop of its own, in which no fixture can live. What has to be awaited belongs into the test:\n"
        f"{instead}{optional}"
    )
