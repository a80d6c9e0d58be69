"""The lines that are recorded; other tracers are not disturbed."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_background_tasks.explorer.lines import Recorder

IS_OWN = defaultdict(bool, {__file__: True})


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


def test_lines_of_the_projects_own_code_are_recorded_with_their_depth() -> None:
    recorder = Recorder(IS_OWN)
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


def test_of_a_computation_the_beginning_is_recorded() -> None:
    def compute() -> None:
        for number in range(10_000):
            hash(number)

    recorder = Recorder(IS_OWN)
    with recorder:
        compute()
        outer()
    assert len(recorder.lines) == 200


def trace_of_another(*_: object) -> Any:
    return None


@pytest.mark.parametrize("before", [None, trace_of_another])
def test_who_traced_before_does_so_afterwards_whatever_happens(before: Any) -> None:
    sys.settrace(before)
    recorder = Recorder(IS_OWN)
    with pytest.raises(KeyError), recorder:
        fail()
    after = sys.gettrace()
    sys.settrace(None)
    assert after is before


def test_a_debugger_that_the_program_starts_goes_first() -> None:
    recorder = Recorder(IS_OWN)
    with recorder:
        sys.settrace(trace_of_another)
    assert sys.gettrace() is trace_of_another
    with recorder:
        outer()
    assert recorder.lines == ()
    assert sys.gettrace() is trace_of_another
    sys.settrace(None)
    with recorder:
        outer()
    assert recorder.lines
