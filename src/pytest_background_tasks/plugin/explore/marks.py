"""The mark ``explore``, which ``@explore`` sets: on a test, on a class, or on a module; and ``no_explore``."""

from __future__ import annotations

import inspect
import unittest
from types import MethodType
from typing import TYPE_CHECKING, Any

import pytest

from ..._introspect.untrusted import attribute, code_of_function

if TYPE_CHECKING:
    from .arguments import ExploreArguments

MARK = "explore"
ACCEPT = "explore_accept"
"""The mark and the ini list of schedules whose failure is accepted."""
NO_EXPLORE = "no_explore"
"""The mark of tests that ``pytest --explore`` does not explore."""

_arguments: pytest.StashKey[ExploreArguments | None] = pytest.StashKey()
_is_of_suite: pytest.StashKey[bool] = pytest.StashKey()


def register(config: pytest.Config) -> None:
    """Register the marks, unless the project's own configuration already has a mark ``explore`` for other uses."""
    lines = config.getini("markers")
    config.stash[_is_of_suite] = any(line.partition(":")[0].partition("(")[0].strip() == MARK for line in lines)
    config.addinivalue_line(
        "markers", "explore(max_deviations=2, ...): run async tests in the orders that asyncio could have produced"
    )
    config.addinivalue_line("markers", f"{ACCEPT}(schedule, ...): do not fail this test under these schedules")
    config.addinivalue_line("markers", f"{NO_EXPLORE}: pytest --explore does not explore this test")


def arguments_of(item: pytest.Item) -> ExploreArguments | None:
    """Return the arguments of the exploration of a test; None if it is not explored.

    Those of the test override those of its class, which override those of its module.
    """
    found = item.stash.get(_arguments, _unknown)
    if found is _unknown:
        found = item.stash[_arguments] = _arguments_of(item)
    return found


_unknown: Any = object()


def _arguments_of(item: Any) -> ExploreArguments | None:
    marks = [mark for mark in item.iter_markers(MARK) if not item.config.stash[_is_of_suite] or is_ours(mark)]
    if not marks or async_test_of(item) is None:
        return None
    from .arguments import check

    if is_method_of_unittest(item) and not issubclass(item.parent.obj, unittest.IsolatedAsyncioTestCase):
        raise pytest.UsageError(
            f"{item.nodeid}: {item.parent.name} is a unittest.TestCase, which does not run async tests; "
            f"write  class {item.parent.name}(unittest.IsolatedAsyncioTestCase)"
        )
    arguments: ExploreArguments = {}
    for mark in reversed(marks):
        if not is_ours(mark):
            try:
                check(mark.kwargs, *mark.args)
            except (TypeError, ValueError) as error:
                from ..._introspect.location import definition

                code = code_of_function(async_test_of(item))
                place = f" ({definition(code)})" if code is not None else ""
                raise pytest.UsageError(f"the mark explore of {item.name}{place}: {error}") from None
        arguments.update(mark.kwargs)
    return arguments


class _Checked:
    """The type of `CHECKED`."""

    def __repr__(self) -> str:
        return "@explore"


CHECKED = _Checked()
"""The first argument of a mark that ``@explore`` has set; it has checked the other arguments."""


def is_ours(mark: pytest.Mark) -> bool:
    """Return True if ``@explore`` has set the mark."""
    return mark.args[:1] == (CHECKED,)


def async_test_of(item: Any) -> Any:
    """Return the ``async def`` of a test, or that which Hypothesis calls; None if it is not an async test."""
    if not isinstance(item, pytest.Function):
        return None
    test = inner_test(item.obj)
    return test if inspect.iscoroutinefunction(test) else None


def is_method_of_unittest(item: Any) -> bool:
    """Return True if the test is a method of a ``unittest.TestCase``."""
    case = getattr(item.parent, "obj", None)
    return isinstance(case, type) and issubclass(case, unittest.TestCase)


def inner_test(test: Any) -> Any:
    """Return the test inside Hypothesis' ``@given``, or the test itself."""
    handle = attribute(test.__func__ if type(test) is MethodType else test, "hypothesis")
    return test if handle is None else attribute(handle, "inner_test", test)
