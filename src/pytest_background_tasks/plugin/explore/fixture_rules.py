"""The fixtures that an explored test may use, and those that it excludes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from ..._introspect.location import definition


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
    asynchronous: dict[str, Any] = {}
    for name, function in _functions(item):
        if _is_async(function):
            asynchronous.setdefault(name, inspect.unwrap(function))
        else:
            check_fixture(item, name, function)
    if asynchronous:
        raise pytest.UsageError(_no_async(item, asynchronous))


def check_fixture(item: Any, name: str, function: Any) -> None:
    """Refuse a fixture that an explored test cannot use.

    Args:
        item: the test.
        name: the name of the fixture.
        function: the fixture function, maybe wrapped by a plugin for async fixtures.

    Raises:
        pytest.UsageError: the message names the fixture and says what to write instead.
    """
    __tracebackhide__ = True
    if name == "virtual_time":
        raise pytest.UsageError(_NO_VIRTUAL_TIME.format(item.name))
    if name == "subtests":
        raise pytest.UsageError(_NO_SUBTESTS.format(item.name))
    if _is_async(function):
        raise pytest.UsageError(_no_async(item, {name: inspect.unwrap(function)}))


def _is_async(function: Any) -> bool:
    function = inspect.unwrap(function)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _needing(item: Any, name: str, without: tuple[str, ...] = ()) -> str:
    """Return the name of a fixture of the test that requests the fixture `name`; empty if there is none."""
    known = item._fixtureinfo.name2fixturedefs
    for other in item.fixturenames:
        if other != name and other not in without and other in known and name in known[other][-1].argnames:
            return str(other)
    return ""


_NO_VIRTUAL_TIME = """\
{} uses @explore, which provides virtual time already; remove the fixture virtual_time
  instead of  virtual_time.now                      write  asyncio.get_running_loop().time() - start
  instead of  await virtual_time.advance(seconds)   write  await asyncio.sleep(seconds)"""

_NO_SUBTESTS = """\
{} uses @explore, which cannot see failures inside subtests
Remove the subtests fixture and use plain assertions"""


def has_own(item: Any) -> bool:
    """Return True if the test has fixtures to set up anew for every run: of function scope or requested dynamically."""
    known = item._fixtureinfo.name2fixturedefs
    return any(
        name == "request" or (name in known and known[name][-1].scope == "function") for name in item.fixturenames
    )


def _functions(item: Any) -> Iterator[tuple[str, Any]]:
    """Yield the functions of all fixtures that the test has."""
    for name in item.fixturenames:
        for fixture in reversed(item._fixtureinfo.name2fixturedefs.get(name, ())):
            yield name, fixture.func
            if name not in fixture.argnames:  # otherwise it extends the fixture that it overrides
                break


def _no_async(item: Any, functions: dict[str, Any]) -> str:
    """Return the error that names the async fixtures of a test. One of them may request another."""
    places = [(name, f"({definition(function.__code__)})") for name, function in functions.items()]
    if len(places) == 1:
        [(name, place)] = places
        are = f"its fixture {name} is async {place}"
    else:
        are = f"its fixtures {', '.join(f'{name} {place}' for name, place in places)} are async"
    optional = [name for name in functions if _is_optional(item, name)]
    it = "it" if len(functions) == 1 else ", ".join(optional)
    without = f"\nor exclude {it}:  @explore(exclude_fixtures={optional!r})" if optional else ""
    return (
        f"{item.name} uses @explore, but {are}\n"
        f"Each run has a new event loop, which no fixture can use. Move the awaits into the test:\n"
        f"{_instead(functions)}{without}"
    )


def _is_optional(item: Any, name: str) -> bool:
    """Return True if the fixture can be excluded: neither the test nor another fixture requests it."""
    return name not in item._fixtureinfo.argnames and not _needing(item, name)


def _instead(functions: dict[str, Any]) -> str:
    """Return the code to write instead; fixtures that others request come first."""
    named: dict[bool, list[str]] = {True: [], False: []}
    lines, depth = [], 0
    for name in _needed_first(functions):
        function = functions[name]
        is_manager = inspect.isasyncgenfunction(function)
        made = f"{name}_of_the_test" if is_manager else f"make_{name}"
        named[is_manager].append(made)
        call = f"{made}({', '.join(inspect.signature(function).parameters)})"
        line = f"async with {call} as {name}:" if is_manager else f"{name} = await {call}"
        lines.append(f"      {'    ' * depth}{line}")
        depth += is_manager
    kinds = [
        f"{'an asynccontextmanager' if is_manager else 'a plain coroutine function'}, e.g. {', '.join(made)}"
        for is_manager, made in named.items()
        if made
    ]
    what = "it" if len(functions) == 1 else "each"
    return f"  make {what} {'; or, if it has no yield, '.join(kinds)}, and write inside the test:\n" + "\n".join(lines)


def _needed_first(functions: dict[str, Any]) -> list[str]:
    """Return the names in an order in which each comes after those that its fixture requests."""
    order: dict[str, None] = {}

    def add(name: str) -> None:
        for parameter in inspect.signature(functions[name]).parameters:
            if parameter in functions and parameter != name:
                add(parameter)
        order.setdefault(name)

    for name in functions:
        add(name)
    return list(order)
