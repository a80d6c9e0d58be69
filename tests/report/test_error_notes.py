"""The error of a failure found by an `Explorer` explains once how it came about, wherever it is raised."""

import asyncio

import pytest

from pytest_background_tasks import Explorer


async def scenario() -> None:
    done: list[str] = []

    async def work(name: str) -> None:
        await asyncio.sleep(0)
        done.append(name)

    await asyncio.gather(work("a"), work("b"))
    assert done == ["a", "b"]


def test_a_note_has_the_table_and_the_replay() -> None:
    failure = Explorer().explore(scenario).failure
    assert failure is not None
    assert not hasattr(failure._error, "__notes__"), "building it takes long, so it is built on demand"
    [note] = failure.error.__notes__
    assert "and fails with one deviation" in note
    assert "What happened, with lines of " in note
    assert "Explorer(replay='work#1@1+1'), with the other options unchanged" in note
    assert failure.error.__notes__ == [note]


def test_failure_in_the_default_order_has_a_note() -> None:
    async def fails() -> None:
        raise KeyError

    failure = Explorer().explore(fails).failure
    assert failure is not None
    [note] = failure.error.__notes__
    assert "Explorer(replay='')" in note


SOURCE = """
    import asyncio
    import unittest
    from pytest_background_tasks import Explorer, explore

    async def work(done, name):
        await asyncio.sleep(0)
        done.append(name)

    async def both():
        done = []
        await asyncio.gather(work(done, "a"), work(done, "b"))
        assert done == ["a", "b"]

    class TestIt(unittest.TestCase):
        def test_in_a_case(self):
            failure = Explorer().explore(both).failure
            if failure:
                raise failure.error

    @explore
    async def test_explored():
        await both()
"""


@pytest.mark.parametrize("test", ["TestIt", "test_explored"])
def test_pytest_shows_the_note_once(pytester: pytest.Pytester, test: str) -> None:
    pytester.makepyfile(SOURCE)
    args = ("-p", "no:randomly", "-p", "no:asyncio", "-p", "no:aiohttp", "-p", "no:anyio", "-k", test)
    shown = pytester.runpytest_subprocess(*args).stdout.str()
    assert shown.count("and fails with one deviation") == 1
    assert shown.count("replay:  ") == 1
    assert shown.count("Explorer(replay='work#1@1+1')") == (test == "TestIt")
