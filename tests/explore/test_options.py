"""The options of an exploration; the error of an invalid option says what to write."""

from dataclasses import fields
from typing import Any

import pytest

from pytest_background_tasks import Explorer, Schedule
from pytest_background_tasks._explore.faults import Faults
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
        ({"faults": 7}, TypeError, "faults=7 is neither the name of a fault nor an exception; write 'cancel', "),
        ({"faults": "rest"}, ValueError, r"faults='rest': unknown fault; did you mean 'reset'\?; write 'cancel', "),
        ({"faults": "cancel:"}, ValueError, "faults='cancel:': unknown fault; did you mean 'cancel'"),
        ({"faults": "print"}, ValueError, "faults='print': unknown fault"),
        ({"faults": [OSError, int]}, TypeError, "faults=<class 'int'> is neither"),
        (
            {"faults": NeedsArguments},
            TypeError,
            r"faults=NeedsArguments: the class needs arguments; write e.g. faults=NeedsArguments\(...\)",
        ),
        (
            {"faults": type("reset", (OSError,), {})},
            ValueError,
            "faults=reset: this name of a class stands for another",
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
    assert list(Options(faults=OSError).faults.errors) == ["OSError"]
    assert Options(faults="OSError").faults == Options(faults=[OSError]).faults
    assert list(Options(faults=[NeedsArguments(1), OSError]).faults.errors) == ["NeedsArguments", "OSError"]
    assert Options(faults="cancel:client").faults == Faults(cancel=("client",))
    assert Options(faults={"cancel", "slow", "eof"}).faults == Faults(
        cancels_all=True, is_slow=True, network=frozenset({"eof"})
    )


def test_a_pattern_matches_the_name_or_the_function() -> None:
    def matches(pattern: str) -> bool:
        faults = Faults.of(f"cancel:{pattern}")
        return faults.is_target("api/handle#2", "Api.handle", is_started_by_scenario=False)

    assert all(map(matches, ["api/*", "api/handle#2", "handle#2", "handle*", "Api.handle", "handle"]))
    assert not any(map(matches, ["api", "Handle", "handle#1"]))
    assert not matches("api*")  # tasks started by api may be shielded or internal
