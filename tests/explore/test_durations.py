"""Sleeps of fakes end in exactly the orders that the rule for durations allows."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_background_tasks import Explorer


class Sleep(NamedTuple):
    """The sleep `number` of a task, which began at some time."""

    task: int
    number: int
    began: int
    length: int

    @property
    def end(self) -> int:
        return self.began + self.length

    def must_precede(self, other: "Sleep") -> bool:
        is_alike = self.length == other.length and other.end <= self.began + 3.5 * self.length
        return self.end < other.end and not is_alike


def orders(program: list[list[int]]) -> set[tuple[tuple[int, int], ...]]:
    """Return the orders in which the sleeps of tasks may end: a search that shares no code with the explorer."""

    def following(now: int, sleep: Sleep) -> Iterator[Sleep]:
        if sleep.number + 1 < len(program[sleep.task]):
            yield Sleep(sleep.task, sleep.number + 1, now, program[sleep.task][sleep.number + 1])

    def ends(now: int, sleeping: frozenset[Sleep], ended: tuple[tuple[int, int], ...]) -> None:
        if not sleeping:
            found.add(ended)
        for each in sleeping:
            if any(other.must_precede(each) for other in sleeping):
                continue
            others, later = sleeping - {each}, max(now, each.end)
            ends(later, others.union(following(later, each)), (*ended, (each.task, each.number)))
            if later > now and any(other.end < later for other in others):  # they last until then, but end before it
                ends(later, sleeping, ended)

    found: set[tuple[tuple[int, int], ...]] = set()
    ends(0, frozenset(Sleep(task, 0, 0, lengths[0]) for task, lengths in enumerate(program)), ())
    return found


lengths = st.lists(st.sampled_from([1, 1, 2, 3]), min_size=1, max_size=3)
programs = st.lists(lengths, min_size=2, max_size=3).filter(lambda program: sum(map(len, program)) <= 5)


@settings(max_examples=40)
@given(programs)
def test_sleeps_end_in_the_orders_of_the_rule_and_in_no_other(program: list[list[int]]) -> None:
    """Equal lengths end in any order up to 3.5 lengths; a sleep of another length goes by the clock."""
    found = set()

    async def scenario() -> None:
        ended: list[tuple[int, int]] = []

        async def client(task: int) -> None:
            for number, length in enumerate(program[task]):
                await asyncio.sleep(length)
                ended.append((task, number))

        await asyncio.gather(*map(client, range(len(program))))
        found.add(tuple(ended))

    explorer = Explorer(max_deviations=99, max_schedules=30_000, arrivals="sleep")
    assert explorer.explore(scenario).verdict == "exhaustive"
    assert found == orders(program)
