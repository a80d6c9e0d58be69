"""Explorations that cancel tasks, inject errors and delay results beyond a timeout."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from inline_snapshot import snapshot

from pytest_background_tasks import Cancel, ExplorationError, Explorer

from .conftest import gathers, io, one_after_the_other


def test_runs_ended_by_a_cancellation_are_counted_as_cut_short() -> None:
    exploration = Explorer(cancel="client*").explore(gathers)
    assert exploration.failure is None
    assert exploration.cut_short > 0
    assert f"{exploration.cut_short} cut short by the cancellation (gather(..., return_exceptions=True)" in str(
        exploration
    )


@pytest.mark.parametrize("cancel", [True, "client", "cl*", "*client", ["missing", "client"]])
def test_cancel_selects_tasks_by_pattern(cancel: Any) -> None:
    assert Explorer(cancel=cancel).explore(gathers).cut_short > 0


def test_cancel_selects_tasks_by_coroutine_function() -> None:
    async def client() -> None:
        await io()

    async def scenario() -> None:
        await asyncio.gather(client(), io())

    exploration = Explorer(cancel=client, max_deviations=1).explore(scenario)
    assert 0 < exploration.cut_short < Explorer(cancel=True, max_deviations=1).explore(scenario).cut_short


def test_cancellation_can_arrive_between_two_timers() -> None:
    """Between two times at which other tasks run, not only when the task suspends or wakes."""

    async def scenario() -> None:
        phase = 0

        async def client() -> None:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                assert phase != 1, "half done"
                raise

        async def work() -> None:
            nonlocal phase
            for number in (1, 2):
                phase = number
                await asyncio.sleep(1)

        async def work_later() -> None:
            await asyncio.sleep(1)
            await work()

        [error, _] = await asyncio.gather(client(), work_later(), return_exceptions=True)
        assert not isinstance(error, AssertionError)

    failure = Explorer(cancel="client").explore(scenario).failure
    assert failure is not None
    assert len(failure.schedule) == 1
    [cancel] = failure.schedule
    assert isinstance(cancel, Cancel)
    assert cancel.after


def test_cancel_that_matches_no_task_is_an_error() -> None:
    with pytest.raises(ExplorationError) as raised:
        Explorer(cancel=["server*", io]).explore(gathers)
    assert str(raised.value) == snapshot(
        """\
cancel= matches no task in any run: 'server*', io
  tasks: client#1, client#2
Write one of these, or cancel=True for all tasks that the test starts\
"""
    )


def test_cancel_without_any_task_is_an_error() -> None:
    """Otherwise it would pass as a proof that includes cancellations."""
    with pytest.raises(ExplorationError) as raised:
        Explorer(cancel=True).explore(one_after_the_other)
    assert str(raised.value) == snapshot(
        """\
cancel=True found no task to cancel: no task started by the test is ever suspended
Wrap the call that should be cancelled:  task = asyncio.create_task(...)\
"""
    )


def test_verdict_excludes_cancellations_if_cancel_found_no_task() -> None:
    explorer = Explorer(cancel=True, require_cancel=False, slow_results=True)
    exploration = explorer.explore(one_after_the_other)
    assert "(including slow results; not varied: different durations, cancellations and errors);" in str(exploration)
    assert explorer.explore(gathers).injected == ("cancellations", "slow results")


async def retries_once() -> None:
    for _ in range(2):
        with suppress(ConnectionError):
            return await io()
    raise LookupError


def test_injected_errors() -> None:
    assert Explorer(inject_errors=ConnectionError, max_deviations=1).explore(retries_once).failure is None
    exploration = Explorer(inject_errors=ConnectionError).explore(retries_once)
    assert exploration.failure is not None
    assert str(exploration.failure.schedule) == "main@1!ConnectionError, main@2!ConnectionError"


def test_timeout_that_ends_the_test_itself_is_no_failure() -> None:
    """Such a run is cut: an answer may always take too long, and the program has no part in what follows."""

    async def scenario() -> None:
        async with asyncio.timeout(1):
            await io()

    assert Explorer().explore(scenario).verdict == "exhaustive"
    exploration = Explorer(slow_results=True).explore(scenario)
    assert exploration.failure is None
    assert exploration.cut_short > 0
