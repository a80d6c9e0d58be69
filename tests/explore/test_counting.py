"""The variable and the constant parts of task names."""

import pytest

from pytest_background_tasks import Schedule, Trace
from pytest_background_tasks.explorer.counting import Counting, counting_between, counting_in


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
def test_what_two_names_have_in_common_is_their_form(one: str, other: str, forms: set[str]) -> None:
    assert counting_between(trace("main", one), trace("main", other)) == forms


def test_who_changes_places_is_known_in_both_runs() -> None:
    assert counting_between(trace("worker-1", "worker-2"), trace("worker-2", "worker-1")) == set()


def test_a_name_is_told_by_its_form() -> None:
    counting = Counting(["pool-<n>-worker"])
    assert [counting(name) for name in ("pool-12-worker", "pool-worker", "poolx12xworker")] == [
        "pool-<n>-worker",
        "pool-worker",
        "poolx12xworker",
    ]


def test_a_schedule_tells_the_forms_that_it_was_found_with() -> None:
    schedule = Schedule.parse('main/pool-<n>-worker#2@1+1, client@1+1, "request <n>":timer@0+1')
    assert set(counting_in(schedule)) == {"pool-<n>-worker", '"request <n>"'}
