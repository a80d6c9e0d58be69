"""The order in which held tasks start."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_background_tasks import BackgroundTasks

started: list[str] = []


async def note(name: str) -> str:
    started.append(name)
    await asyncio.sleep(0)
    started.append(name)
    return name


async def other(name: str) -> str:
    return await note(name)


@pytest.fixture
async def held(background_tasks: BackgroundTasks) -> BackgroundTasks:
    """Hold four tasks, a to d."""
    started.clear()
    background_tasks.start_capturing()
    for function, name in ((note, "a"), (other, "b"), (note, "c"), (other, "d")):
        asyncio.create_task(function(name), name=name)
    return background_tasks


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("created", "abcd"),
        ("reversed", "dcba"),
        (["c", "a"], "cabd"),
        ([other], "bdac"),
        ((lambda task: task.name == "d", note), "dacb"),
        ([], "abcd"),
    ],
)
@pytest.mark.parametrize("synchronous", [False, True], ids=["async", "sync"])
async def test_tasks_start_and_resume_in_the_requested_order(
    held: BackgroundTasks, order: Any, expected: str, synchronous: bool
) -> None:
    """The results stay in creation order."""
    results = held.run_all_sync(order=order) if synchronous else await held.run_all_async(order=order)
    assert "".join(started) == expected * 2
    assert results == ["a", "b", "c", "d"]


async def test_run_async_and_run_sync_accept_an_order(held: BackgroundTasks) -> None:
    assert await held.run_async(note, order="reversed") == ["a", "c"]
    assert held.run_sync(other, order="reversed") == ["b", "d"]
    assert "".join(started) == "caca" + "dbdb"


async def test_a_captured_task_can_be_put_first(held: BackgroundTasks) -> None:
    await held.run_all_async(order=[held.captured_tasks[3]])
    assert "".join(started) == "dabc" * 2


def test_random_order_is_reproducible_and_shown_on_failure(pytester: pytest.Pytester) -> None:
    """The order depends only on the test's node id."""
    pytester.makepyfile(
        """
        import asyncio, pytest

        async def job(): ...

        @pytest.mark.parametrize("number", range(3))
        def test_it(background_tasks, number):
            background_tasks.start_capturing()
            for name in "abcdefgh":
                asyncio.create_task(job(), name=name)
            background_tasks.run_all_sync(order="random")
            assert number == 1
        """
    )

    def orders() -> list[str]:
        arguments = ("-p", "no:randomly", "-o", "asyncio_default_fixture_loop_scope=function")
        result = pytester.runpytest_inprocess(*arguments)
        result.assert_outcomes(passed=1, failed=2)
        return [line for line in result.stdout.lines if line.startswith("order='random' (seed ")]

    first = orders()
    assert first == orders()
    assert len({line.partition("started:")[2] for line in first}) == 2
    assert sorted(first[0].partition("started: ")[2].split(", ")) == list("abcdefgh")
    assert "test_it[0]" in first[0]


@pytest.mark.parametrize(
    ("order", "error", "message"),
    [
        ("radnom", ValueError, r"not 'created', 'reversed', 'random'(?s:.*)run_all_async\(order=\['radnom'\]\)"),
        (42, TypeError, r"order=42 is not an order\n  write: .*run_all_async\(order=\[first, second\]\)"),
        ([42], TypeError, r"not an object of type 'int'(?s:.*)run_all_async\(order=\[42\]\)"),
    ],
)
async def test_invalid_order_is_rejected(
    held: BackgroundTasks, order: Any, error: type[Exception], message: str
) -> None:
    """The order is rejected before any task starts."""
    with pytest.raises(error, match=message):
        await held.run_all_async(order=order)
    assert len(held.held_tasks) == 4


@given(st.permutations("abcde"))
def test_every_permutation_can_be_requested(order: list[str]) -> None:
    """A list of all names is the order itself."""
    from pytest_background_tasks._control.start_order import ordered

    class Task:
        def __init__(self, name: str) -> None:
            self.name = self.function = self.module = name

    tasks: list[Any] = [Task(name) for name in "abcde"]
    assert [task.name for task in ordered(tasks, lambda task: task, order, "", "{}")] == order  # type: ignore[arg-type, return-value]
