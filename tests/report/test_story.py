"""What is said of what arrives, whichever kinds of arrival may be late."""

import asyncio

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
