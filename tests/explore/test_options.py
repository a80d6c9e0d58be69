"""The options of an exploration; the error of an invalid option says what to write."""

from dataclasses import fields
from typing import Any

import pytest

from pytest_background_tasks import Explorer, Schedule
from pytest_background_tasks._explore.options import ExplorerArguments, Options
from pytest_background_tasks._explore.trace import KINDS


class NeedsArguments(Exception):
    def __init__(self, number: int) -> None: ...


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_deviation": 1}, TypeError, "; did you mean max_deviations=[?]\n  valid options: max_schedules, "),
        ({"depth": 1}, TypeError, "unknown option depth=\n  valid options: max_schedules, "),
        ({"max_deviations": -1}, ValueError, "max_deviations=-1 is less than 0; write e.g. max_deviations=1"),
        ({"max_schedules": 0}, ValueError, "max_schedules=0 is less than 1"),
        ({"max_steps": True}, TypeError, "max_steps=True is not an integer"),
        ({"random_walks": 1.5}, TypeError, "random_walks=1.5 is not an integer; write e.g. random_walks=1"),
        (
            {"max_seconds": 0},
            ValueError,
            "max_seconds=0 is not greater than 0; write e.g. max_seconds=60, or None for no limit",
        ),
        ({"arrivals": "disk"}, ValueError, "unknown kind 'disk'; write 'start', 'yield', "),
        ({"arrivals": ["start", "io"]}, ValueError, "unknown kind 'io'"),
        ({"propagate": 7}, TypeError, "propagate=7 is neither classes of exceptions nor a function"),
        ({"cancel": 7}, TypeError, "7 is neither a pattern for a task's name nor a coroutine function"),
        ({"cancel": print}, TypeError, r"write e.g. cancel='client\*', or cancel=True"),
        (
            {"inject_errors": "ConnectionError"},
            TypeError,
            "'ConnectionError' is not an exception; write e.g. inject_errors=Connection",
        ),
        ({"inject_errors": [OSError, int]}, TypeError, "<class 'int'> is not an exception"),
        (
            {"inject_errors": NeedsArguments},
            TypeError,
            r"the class needs arguments; write e.g. inject_errors=NeedsArguments\(...\)",
        ),
        (
            {"previous_failures": "client@1+1"},
            TypeError,
            "is not a list of schedules; write e.g. previous_failures=\\['client@1",
        ),
        ({"replay": 7}, TypeError, "replay=7 is not a schedule; write e.g. replay='client@1\\+1'"),
    ],
)
def test_invalid_options_are_errors(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Explorer(**options)


def test_arguments_and_stored_options_have_the_same_names() -> None:
    assert sorted(ExplorerArguments.__annotations__) == sorted(each.name for each in fields(Options) if each.init)


def test_equivalent_arguments_are_stored_in_one_form() -> None:
    assert Options().arrivals == frozenset(KINDS)
    assert Options(arrivals="any").arrivals == {*KINDS, "any"}
    assert Options(arrivals="sleep").arrivals == {"sleep"}
    assert Options(replay="a@1+1").replay == Schedule.parse("a@1+1")
    assert list(Options(inject_errors=OSError).errors) == ["OSError"]
    assert list(Options(inject_errors=[NeedsArguments(1), OSError]).errors) == ["NeedsArguments", "OSError"]
    assert Options(cancel="client").cancel == ("client",)


def test_a_pattern_matches_the_name_or_the_function() -> None:
    def matches(pattern: str) -> bool:
        return Options(cancel=pattern).is_target("api/handle#2", "Api.handle", None, False)

    assert all(map(matches, ["api/*", "api/handle#2", "handle#2", "handle*", "Api.handle", "handle"]))
    assert not any(map(matches, ["api", "Handle", "handle#1"]))
    assert not matches("api*")  # tasks started by api may be shielded or internal
