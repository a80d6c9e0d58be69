"""The decorator ``@explore``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, Unpack, overload

import pytest

from .arguments import ExploreArguments, check
from .marks import CHECKED, MARK, inner_test, is_ours

_Test = TypeVar("_Test", bound=Callable[..., Any])  # a test function, or a class of tests


@overload
def explore(test: _Test, /) -> _Test: ...
@overload
def explore(**options: Unpack[ExploreArguments]) -> Callable[[_Test], _Test]: ...
def explore(test: Any = None, /, **options: Any) -> Any:
    """Run an ``async def`` test many times, each time in another order that asyncio could have produced.

    External events may be delayed: the start of a task, the end of a sleep, the result of a thread. The first run uses
    asyncio's default order; other orders follow, those closest to it first, until one fails, none is left, or the
    budget runs out. Each run is set up anew, by the plugin that runs the test otherwise (pytest-asyncio, anyio's,
    aiohttp's, unittest): fixtures of function scope, and async fixtures of every scope. No plugin is needed for a test
    without async fixtures.

    On a class, all its async tests are explored; so they are in a module with ``pytestmark =
    pytest.mark.explore(...)``, with the same options. The options of a test override those of its class and module.

    Args:
        test: the test, or a class of tests, if the decorator is written without options: ``@explore``.
        options: as for `Explorer`; defaults come from the command line and the ini file. Also ``exclude_fixtures``:
            names of autouse fixtures that the test does not use.

    Raises:
        TypeError, ValueError: an option is wrong, or `test` is not an ``async def``; the message says what to write.

    >>> @explore(max_deviations=1)
    ... async def test_two_may_write(store):
    ...     async with asyncio.TaskGroup() as group:
    ...         group.create_task(store.write("a"))
    ...         group.create_task(store.write("b"))
    >>> [mark.name for mark in test_two_may_write.pytestmark]
    ['explore']
    """
    __tracebackhide__ = True
    if test is None:

        def decorate(test: Any) -> Any:
            __tracebackhide__ = True
            return _explored(test, options)

        return decorate
    if options or not callable(test):
        raise TypeError(f"explore({test!r}, ...): write  @explore  or  @explore(max_deviations=2)")
    return _explored(test, options)


def _explored(test: Any, arguments: dict[str, Any]) -> Any:
    __tracebackhide__ = True
    _refuse_unsupported(test)
    try:
        check(arguments)
    except (TypeError, ValueError) as error:
        raise error.with_traceback(None) from error.__cause__  # the traceback ends at the user's line
    return pytest.mark.explore(CHECKED, **arguments)(test)


def _refuse_unsupported(test: Any) -> None:
    __tracebackhide__ = True
    name = getattr(test, "__name__", repr(test))
    if isinstance(test, (staticmethod, classmethod)):
        raise TypeError(f"@explore is above @{type(test).__name__} on {name}; write it below, next to the def")
    if any(mark.name == MARK and is_ours(mark) for mark in vars(test).get("pytestmark", ())):
        raise TypeError(f"{name} has @explore twice; write it once, with all options")
    if not isinstance(test, type) and not inspect.iscoroutinefunction(inner_test(test)):
        raise TypeError(
            f"@explore needs an async def, and {name} is not one\n  write:  async def {name}(...)\n"
            f"or, to explore only a part of a test:\n{_instead(name)}"
        )


def _instead(test: str) -> str:
    """Return the code to write where the decorator cannot be used."""
    lines = [
        f"def {test}(...):",
        "    async def scenario():",
        "        ...                          # the body of the test",
        "    exploration = Explorer().explore(scenario)   # from pytest_background_tasks import Explorer",
        "    if exploration.failure:",
        "        raise exploration.failure.error",
    ]
    return "Use an Explorer inside the test:\n" + "\n".join(f"    {line}" for line in lines)
