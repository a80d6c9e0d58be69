"""The lines that are recorded; other tracers are not disturbed."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_background_tasks._explore.line_tracer import LineTracer

IS_PROJECT_FILE = defaultdict(bool, {__file__: True})


@pytest.fixture(autouse=True)
def tracer() -> Iterator[None]:
    """Remove coverage's trace function, so that each test has the trace function to itself."""
    before = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(before)


def inner() -> None:
    sorted([2, 1])


def outer() -> None:
    inner()
    eval("1 + 1")


def fail() -> None:
    raise KeyError


def test_lines_of_project_code_are_recorded_with_their_depth() -> None:
    recorder = LineTracer(IS_PROJECT_FILE)
    with recorder:
        outer()
    first = outer.__code__.co_firstlineno
    assert [(line.location.function, line.location.line, line.depth) for line in recorder.lines] == [
        ("outer", first + 1, 0),
        ("inner", inner.__code__.co_firstlineno + 1, 1),
        ("outer", first + 2, 0),
    ]
    with recorder:
        pass
    assert recorder.lines == ()


def test_only_the_first_lines_of_a_long_computation_are_recorded() -> None:
    def compute() -> None:
        for number in range(10_000):
            hash(number)

    recorder = LineTracer(IS_PROJECT_FILE)
    with recorder:
        compute()
        outer()
    assert len(recorder.lines) == 200


def other_tracer(*_: object) -> Any:
    return None


@pytest.mark.parametrize("before", [None, other_tracer])
def test_previous_tracer_is_restored_even_after_an_error(before: Any) -> None:
    sys.settrace(before)
    recorder = LineTracer(IS_PROJECT_FILE)
    with pytest.raises(KeyError), recorder:
        fail()
    after = sys.gettrace()
    sys.settrace(None)
    assert after is before


def test_debugger_started_by_the_program_takes_precedence() -> None:
    recorder = LineTracer(IS_PROJECT_FILE)
    with recorder:
        sys.settrace(other_tracer)
    assert sys.gettrace() is other_tracer
    with recorder:
        outer()
    assert recorder.lines == ()
    assert sys.gettrace() is other_tracer
    sys.settrace(None)
    with recorder:
        outer()
    assert recorder.lines
