"""The kinds of steps in the model of a report."""

import asyncio
from typing import Any

import pytest

from pytest_background_tasks._explore.trace import Outcome
from pytest_background_tasks._report.model import FailureView, StepKind


async def arrivals() -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(1, int)
    loop.call_soon_threadsafe(int)
    await asyncio.sleep(2)
    await asyncio.to_thread(int)
    await asyncio.gather(loop.run_in_executor(None, int), loop.run_in_executor(None, int))
    raise ValueError


@pytest.mark.parametrize("kinds", [["start"], ["sleep", "timer", "thread"]])
def test_arrivals_have_their_kinds(explored, kinds: list[str]) -> None:
    """Also if it may not be late, when its kind is not recorded."""
    view: FailureView = explored(arrivals, arrivals=kinds, max_deviations=0)
    assert [step.kind for step in view.failing.steps if step.task and not step.is_step] == [
        StepKind.CALL,
        StepKind.TIMER,
        StepKind.SLEEP_ENDS,
        StepKind.THREAD,
        StepKind.THREAD,
        StepKind.THREAD,
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


@pytest.mark.parametrize(("scenario", "kind"), [(waits, "propagated"), (cleans_up, "raised")])
def test_unhandled_error_of_an_awaited_task_is_propagated(explored, scenario: Any, kind: Any) -> None:
    """Not so if the task has done something about it."""
    steps = explored(scenario, max_deviations=0).failing.steps
    assert [step.outcome for step in steps if step.outcome] == [
        Outcome("raised", "ValueError"),
        Outcome(kind, "ValueError"),
    ]
    assert (StepKind.ERROR in {step.kind for step in steps}) == (scenario is cleans_up)
