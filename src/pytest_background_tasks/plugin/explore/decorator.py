"""The decorator ``@explore``."""

from __future__ import annotations

import inspect
import unittest
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, Unpack, overload

import pytest

from ..._explore.options import Arguments, Options, check_names, several

_Test = TypeVar("_Test", bound=Callable[..., Any])


class ExploreArguments(Arguments, total=False):
    """The keyword arguments of ``@explore``."""

    exclude_fixtures: Sequence[str]


class ExploredTest:
    """A test function with ``@explore``.

    Attributes:
        test: the ``async def``.
        outer: the function that pytest collects instead.
        options: keyword arguments for `Explorer`.
        exclude_fixtures: names of the fixtures to drop.
    """

    def __init__(self, test: Callable[..., Any], outer: Callable[..., Any], arguments: dict[str, Any]) -> None:
        check_names(arguments, list(ExploreArguments.__annotations__))
        self.test = test
        self.outer = outer
        self.exclude_fixtures: tuple[str, ...] = _names(arguments.pop("exclude_fixtures", ()))
        Options.of(arguments)  # raises here if an option is wrong, not when the test runs
        self.options = arguments


@overload
def explore(test: _Test, /) -> _Test: ...
@overload
def explore(**options: Unpack[ExploreArguments]) -> Callable[[_Test], _Test]: ...
def explore(test: Any = None, /, **options: Any) -> Any:
    """Run an ``async def`` test many times, each time in another order that asyncio could have produced.

    External events may be delayed: the start of a task, the end of a sleep, the result of a thread. The first run uses
    asyncio's default order; other orders follow, those closest to it first, until one fails, none is left, or the
    budget runs out. Fixtures of function scope are set up anew for every run. No async plugin is needed; the test gets
    the mark ``explore``.

    Args:
        test: the test, if the decorator is written without options: ``@explore``.
        options: as for `Explorer`; defaults come from the command line and the ini file. Also ``exclude_fixtures``:
            names of autouse fixtures that this test does not use, because they are async.

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

    @wraps(test)
    def outer(*args: Any, **_: Any) -> None:
        __tracebackhide__ = True
        raise _not_by_pytest(test, args)

    try:
        outer._explored = ExploredTest(test, outer, dict(arguments))  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise error.with_traceback(None) from error.__cause__  # the traceback ends at the user's line
    return pytest.mark.explore(outer)


def _refuse_unsupported(test: Any) -> None:
    __tracebackhide__ = True
    name = getattr(test, "__name__", repr(test))
    if isinstance(test, (staticmethod, classmethod)):
        raise TypeError(f"@explore is above @{type(test).__name__} on {name}; write it below, next to the def")
    if getattr(test, "is_hypothesis_test", False):
        raise TypeError(f"@explore cannot explore {name}, a Hypothesis test\n{_instead(name, '@given(...)')}")
    if hasattr(test, "_explored"):
        raise TypeError(f"{name} has @explore twice; write it once, with all options")
    if not inspect.iscoroutinefunction(test):
        raise TypeError(
            f"@explore needs an async def, and {name} is not one\n  write:  async def {name}(...)\n"
            f"or, to explore only a part of a test:\n{_instead(name)}"
        )


def _not_by_pytest(test: Any, args: tuple[Any, ...]) -> TypeError:
    name = test.__name__
    if args and isinstance(args[0], unittest.TestCase):
        return TypeError(f"@explore does not support methods of a unittest.TestCase\n{_instead(f'{name}(self)')}")
    return TypeError(
        f"{name} uses @explore: only pytest with this plugin can run it, but it was called directly\n"
        f"A decorator above @explore, such as @given, may have called it. {_instead(name)}"
    )


def _instead(test: str, above: str = "") -> str:
    """Return the code to write where the decorator cannot be used."""
    head = test if test.endswith(")") else f"{test}(...)"
    lines = [above] if above else []
    lines += [
        f"def {head}:",
        "    async def scenario():",
        "        ...                          # the body of the test",
        "    exploration = Explorer().explore(scenario)   # from pytest_background_tasks import Explorer",
        "    if exploration.failure:",
        "        raise exploration.failure.error",
    ]
    return "Use an Explorer inside the test:\n" + "\n".join(f"    {line}" for line in lines)


def _names(without: Any) -> tuple[str, ...]:
    names = several(without)
    for name in names:
        if not isinstance(name, str):
            example = "write e.g. exclude_fixtures=['clean_db']"
            raise TypeError(f"exclude_fixtures={without!r}: {name!r} is not the name of a fixture; {example}")
    return names
