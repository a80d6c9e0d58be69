"""Explorations that cancel tasks, inject errors and delay results beyond a timeout."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from inline_snapshot import snapshot

from pytest_background_tasks import Cancel, ExplorationError, Explorer

from .conftest import gathers, io, one_after_the_other


def test_runs_ended_by_a_cancellation_are_counted_as_cut_short() -> None:
    exploration = Explorer(faults="cancel:client*").explore(gathers)
    assert exploration.failure is None
    assert exploration.cut_short > 0
    assert f"{exploration.cut_short} cut short by the cancellation (gather(..., return_exceptions=True)" in str(
        exploration
    )


@pytest.mark.parametrize(
    "faults", ["cancel", "cancel:client", "cancel:cl*", "cancel:*client", ["cancel:missing", "cancel:client"]]
)
def test_cancel_selects_tasks_by_pattern(faults: Any) -> None:
    assert Explorer(faults=faults).explore(gathers).cut_short > 0


def test_pattern_selects_fewer_tasks_than_cancel_alone() -> None:
    async def client() -> None:
        await io()

    async def scenario() -> None:
        await asyncio.gather(client(), io())

    exploration = Explorer(faults="cancel:client", max_deviations=1).explore(scenario)
    assert 0 < exploration.cut_short < Explorer(faults="cancel", max_deviations=1).explore(scenario).cut_short


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

    failure = Explorer(faults="cancel:client").explore(scenario).failure
    assert failure is not None
    assert len(failure.schedule) == 1
    [cancel] = failure.schedule
    assert isinstance(cancel, Cancel)
    assert cancel.after


def test_cancel_that_matches_no_task_is_an_error() -> None:
    with pytest.raises(ExplorationError) as raised:
        Explorer(faults=["cancel:server*", "cancel:io"]).explore(gathers)
    assert str(raised.value) == snapshot(
        """\
faults= matches no task in any run: 'cancel:server*', 'cancel:io'
  tasks: client#1, client#2
Write 'cancel:' and one of these, or 'cancel' for all tasks that the test starts\
"""
    )


def test_cancel_without_any_task_is_an_error() -> None:
    """Otherwise it would pass as a proof that includes cancellations."""
    with pytest.raises(ExplorationError) as raised:
        Explorer(faults="cancel").explore(one_after_the_other)
    assert str(raised.value) == snapshot(
        """\
faults='cancel' found no task to cancel: no task started by the test is ever suspended
Wrap the call that should be cancelled:  task = asyncio.create_task(...)\
"""
    )


def test_verdict_excludes_cancellations_if_cancel_found_no_task() -> None:
    explorer = Explorer(faults=["cancel", "slow"], require_cancel=False)
    exploration = explorer.explore(one_after_the_other)
    assert "(including slow results; not varied: different durations, cancellations and errors);" in str(exploration)
    assert explorer.explore(gathers).injected == ("slow results", "one cancellation per run")


async def retries_once() -> None:
    for _ in range(2):
        with suppress(ConnectionError):
            return await io()
    raise LookupError


def test_injected_errors() -> None:
    assert Explorer(faults=ConnectionError, max_deviations=1).explore(retries_once).failure is None
    exploration = Explorer(faults=ConnectionError).explore(retries_once)
    assert exploration.failure is not None
    assert str(exploration.failure.schedule) == "main@1!ConnectionError, main@2!ConnectionError"


def test_timeout_that_ends_the_test_itself_is_no_failure() -> None:
    """Such a run is cut: an answer may always take too long, and the program has no part in what follows."""

    async def scenario() -> None:
        async with asyncio.timeout(1):
            await io()

    assert Explorer().explore(scenario).verdict == "exhaustive"
    exploration = Explorer(faults="slow").explore(scenario)
    assert exploration.failure is None
    assert exploration.cut_short > 0


def test_tasks_of_asyncio_itself_are_not_cancelled() -> None:
    """No other code can know the task in which asyncio resolves the address of a server."""

    async def client() -> None:
        await io()

    async def scenario() -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 80):
            await asyncio.gather(client(), return_exceptions=True)

    failure = Explorer(faults="cancel", max_deviations=1, accepted=[]).explore(scenario).failure
    assert failure is None, failure
    cancelled = Explorer(faults="cancel", max_deviations=1).explore(scenario)
    assert cancelled.cut_short == 0
