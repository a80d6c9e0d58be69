"""A trace is a value."""

import dataclasses
import pickle

import pytest

from pytest_background_tasks import SourceLocation, Step, StepDetail, Trace
from pytest_background_tasks._explore.trace import first_difference

DETAIL = StepDetail((SourceLocation("app.py", 1, "f"),), (), "", "returns", None)


def step(who: str, number: int = 0, time: float = 0.0, detail: StepDetail | None = None) -> Step:
    return Step(who, number, "value", time, None, 0, 0, detail)


def test_trace_is_immutable_and_can_be_pickled() -> None:
    trace = Trace((step("a"), step("b", detail=DETAIL)), siblings=frozenset("a"))
    assert pickle.loads(pickle.dumps(trace)) == trace
    with pytest.raises(dataclasses.FrozenInstanceError):
        trace.steps = ()  # type: ignore[misc]


def test_runs_with_the_same_steps_at_the_same_times_are_equal() -> None:
    once = Trace((step("a"), step("b")))
    detailed = Trace((step("a"), step("b", detail=DETAIL)))
    assert once != detailed
    assert once.signature == detailed.signature
    assert first_difference(once, detailed) is None


@pytest.mark.parametrize(
    ("other", "index"),
    [
        (Trace((step("a"), step("c"))), 1),
        (Trace((step("a"), step("b", 1))), 1),
        (Trace((step("a", time=1), step("b"))), 0),
        (Trace((step("a"),)), 1),
        (Trace((step("a"), step("b"), step("a", 1))), 2),
    ],
)
def test_the_first_difference(other: Trace, index: int) -> None:
    assert first_difference(Trace((step("a"), step("b"))), other) == index


def test_first_of_several_siblings_is_shown_with_its_number() -> None:
    trace = Trace((), siblings=frozenset({"client", "client/job", "client#2:timer", "a/b"}))
    assert trace.display_name("client") == "client#1"
    assert trace.display_name("client#2") == "client#2"
    assert trace.display_name("client/job") == "client#1/job#1"
    assert trace.display_name("client/job#2:timer") == "client#1/job#2:timer"
    assert trace.display_name("client#2:timer") == "client#2:timer#1"
    assert trace.display_name("other") == "other"
