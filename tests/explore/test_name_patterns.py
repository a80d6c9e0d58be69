"""The variable and the constant parts of task names."""

import pytest

from pytest_background_tasks import Schedule, Trace
from pytest_background_tasks._explore.name_patterns import NamePatterns, patterns_between, patterns_in


def trace(*names: str) -> Trace:
    return Trace(tuple((name, 0, "value", 0.0, None, 0, 0, None) for name in names))


@pytest.mark.parametrize(
    ("one", "other", "forms"),
    [
        ("pool-3-worker", "pool-4-worker", {"pool-<n>-worker"}),
        ("main/worker9:timer#3", "main/worker10:timer#3", {"worker<n>"}),
        ('"request 1b4e28ba-2fa1-11d2"', '"request 6fa459ea-ee8a-3ca4"', {'"request <n>"'}),
        (
            "request 0f3a1111-a123-4abc-8abc-012345678901",
            "request 1f3a2222-a987-4def-9def-112345678901",  # both contain a group of an "a" and digits
            {"request <n>"},
        ),
        ("1b4e28ba-2fa1-11d2", "6fa459ea-ee8a-3ca4", set()),  # no constant part is left
        ("get", "get-2", set()),
        ("reader", "writer", set()),
    ],
)
def test_pattern_is_the_common_part_of_two_names(one: str, other: str, forms: set[str]) -> None:
    assert patterns_between(trace("main", one), trace("main", other)) == forms


def test_swapped_names_have_no_pattern() -> None:
    assert patterns_between(trace("worker-1", "worker-2"), trace("worker-2", "worker-1")) == set()


def test_matching_names_are_replaced_by_their_pattern() -> None:
    counting = NamePatterns(["pool-<n>-worker"])
    assert [counting(name) for name in ("pool-12-worker", "pool-worker", "poolx12xworker")] == [
        "pool-<n>-worker",
        "pool-worker",
        "poolx12xworker",
    ]


def test_patterns_are_extracted_from_a_schedule() -> None:
    schedule = Schedule.parse('main/pool-<n>-worker#2@1+1, client@1+1, "request <n>":timer@0+1')
    assert set(patterns_in(schedule)) == {"pool-<n>-worker", '"request <n>"'}
