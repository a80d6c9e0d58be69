"""What is said of what arrives, whichever kinds of arrival may be late; and of an error that only comes by."""

import asyncio
from typing import Any

import pytest

from pytest_background_tasks.report.story import Failing


async def arrivals() -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(1, int)
    loop.call_soon_threadsafe(int)
    await asyncio.sleep(2)
    await asyncio.to_thread(int)
    await asyncio.gather(loop.run_in_executor(None, int), loop.run_in_executor(None, int))
    raise ValueError


@pytest.mark.parametrize("kinds", [["start"], ["sleep", "timer", "thread"]])
def test_what_arrives_is_called_what_it_is(explored, kinds: list[str]) -> None:
    """Also if it may not be late, when its kind is not recorded."""
    failing: Failing = explored(arrivals, arrivals=kinds, max_deviations=0)
    assert [moment.what for moment in failing.here.moments if moment.lane and not moment.is_step] == [
        "its call arrives",
        "its timer fires",
        "its sleep ends",
        "its thread answers",
        "its thread answers",
        "its thread answers",
    ]


async def fails() -> None:
    await asyncio.sleep(0)
    raise ValueError


async def waits() -> None:
    await asyncio.create_task(fails(), name="failing")


async def cleans_up() -> None:
    try:
        await asyncio.create_task(fails(), name="failing")
    finally:
        await asyncio.sleep(0)


@pytest.mark.parametrize(("scenario", "end"), [(waits, "passes on ValueError"), (cleans_up, "raises ValueError")])
def test_an_error_that_only_comes_by_is_passed_on(explored, scenario: Any, end: str) -> None:
    """Not so if the task has done something about it."""
    moments = explored(scenario, max_deviations=0).here.moments
    assert [moment.end for moment in moments if moment.end] == ["raises ValueError", end]
    assert ("gets ValueError" in {moment.what for moment in moments}) == (scenario is cleans_up)
