"""Schedules that are replayed, or tried first because they failed before."""

import asyncio
import pdb
from dataclasses import replace
from typing import Any

import pytest
from inline_snapshot import snapshot

from pytest_background_tasks import Cancel, Delay, Explorer, ReplayError, Schedule, ScheduleSyntaxError

from .conftest import gathers, io, sells_too_often, two_clients


def test_a_failing_schedule_can_be_replayed() -> None:
    found = Explorer().explore(sells_too_often).failure
    assert found is not None
    exploration = Explorer(replay=str(found.schedule)).explore(sells_too_often)
    assert exploration.failure is not None
    assert exploration.failure.schedule == found.schedule
    assert exploration.failure.trace == found.trace
    assert exploration.runs == 1


def test_passing_replay_has_the_verdict_replayed() -> None:
    exploration = Explorer(replay="look_and_sell@1+1").explore(sells_too_often)
    assert (exploration.verdict, exploration.runs) == ("replayed", 1)
    assert str(exploration).startswith("replayed: look_and_sell@1+1 passes; ")


def test_passing_replay_is_shown_as_written() -> None:
    exploration = Explorer(replay="client@1+1").explore(two_clients)
    assert str(exploration).startswith("replayed: client@1+1 passes; ")


def test_empty_replay_runs_the_default_order() -> None:
    """For example, the value of an empty shell variable."""
    assert str(Explorer(replay="").explore(sells_too_often)).startswith("replayed: asyncio's default order passes; ")


def test_replay_is_not_minimized() -> None:
    exploration = Explorer(replay="sell@0+1, look_and_sell@1+1").explore(sells_too_often)
    assert exploration.failure is None or len(exploration.failure.schedule) == 2


def test_replay_of_a_cancellation_or_slow_result_needs_no_option() -> None:
    assert Explorer(replay=Schedule([Cancel("client#2", 1)])).explore(gathers).cut_short == 1
    assert str(Explorer(replay="client#2@1!slow").explore(gathers)).startswith("replayed: client#2@1!slow passes")


def test_replay_runs_the_default_order_and_then_the_schedule_once() -> None:
    """So the side effects of the last run are those of the replayed schedule."""
    runs: list[list[str]] = []

    async def scenario() -> None:
        runs.append(order := [])

        async def client(name: str) -> None:
            await io()
            order.append(name)

        await asyncio.gather(client("a"), client("b"))
        assert order == ["a", "b"]

    failure = Explorer(replay="client@1+1").explore(scenario).failure
    assert failure is not None
    assert runs == [["a", "b"], ["b", "a"]]
    assert (failure.found_by, failure.run_number) == ("replay", 1)


def test_replay_reports_a_failure_in_the_default_order() -> None:
    """A report about the delays would be misleading."""

    async def scenario() -> None:
        await two_clients()
        raise LookupError

    failure = Explorer(replay="client@1+1").explore(scenario).failure
    assert failure is not None
    assert failure.schedule == Schedule()


def test_breakpoints_of_a_replay_do_not_stop_in_the_default_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who replays a schedule wants to debug that schedule only."""
    stops: list[int] = []
    monkeypatch.setattr("sys.breakpointhook", lambda: stops.append(0))
    monkeypatch.setattr("pdb.set_trace", lambda: stops.append(1))
    monkeypatch.setattr("pytest.set_trace", lambda: stops.append(2))

    async def scenario() -> None:
        breakpoint()
        pdb.set_trace()
        pytest.set_trace()
        await sells_too_often()

    assert Explorer(replay="sell@0+1").explore(scenario).verdict == "failed"
    assert stops == [0, 1, 2]


def test_previous_failure_is_tried_first() -> None:
    """It runs right after the default order, and is minimized like any other failure."""
    for seed in range(5):
        failure = (
            Explorer(previous_failures=["look_and_sell@0+1, sell@0+4"], seed=seed).explore(sells_too_often).failure
        )
        assert failure is not None
        assert (failure.found_by, failure.run_number, str(failure.schedule)) == ("previous", 2, "sell@0+1")


@pytest.mark.parametrize(
    "text",
    [
        "missing@0+1",
        "client@9+1",
        "client@0!ConnectionError",
        "client@1!cancel",
        "client@1!slow",
        "client@1+1",
        "client@1+1, missing@0+1",
    ],
)
def test_obsolete_previous_failure_does_not_change_the_exploration(text: str) -> None:
    """The counts are the same too: the exploration is the same as without it."""

    async def scenario() -> None:
        async def client() -> None:
            await io()
            await io()

        await asyncio.gather(client(), client(), return_exceptions=True)

    plain = Explorer(seed=1).explore(scenario)
    again = Explorer(seed=1, previous_failures=[text]).explore(scenario)
    assert again == replace(plain, seconds=again.seconds, now_passing=again.now_passing)
    assert bool(again.now_passing) == (text == "client@1+1")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("client@1!cancel", {"faults": "cancel:client"}),
        ("client@1!LookupError", {"faults": LookupError}),
        ("client:timer+2", {"arrivals": ["timer"]}),
        ("client@1!slow", {"faults": "slow"}),
    ],
)
def test_previous_failure_is_skipped_unless_its_options_are_set(text: str, options: dict[str, Any]) -> None:
    """A user who has found a failure to be impossible, and excluded it, does not see it again."""

    async def scenario() -> None:
        async def client() -> None:
            asyncio.get_running_loop().call_later(2, moments.append, "timer")
            await asyncio.sleep(1)
            moments.append("client")

        async def other() -> None:
            await asyncio.sleep(2)
            moments.append("other")

        moments: list[str] = []
        await asyncio.gather(client(), other(), return_exceptions=True)
        assert moments == ["client", "timer", "other"]

    fixed = {"arrivals": ["sleep"], "max_deviations": 0, "previous_failures": [text]}
    failure = Explorer(**{**fixed, **options}).explore(scenario).failure
    assert failure is not None
    assert (failure.found_by, str(failure.schedule)) == ("previous", text)
    assert Explorer(**fixed).explore(scenario).failure is None


def test_unparsable_replay_text_is_an_error() -> None:
    with pytest.raises(ScheduleSyntaxError):
        Explorer(replay="client@1")


def test_replay_of_an_invalid_schedule_is_an_error() -> None:
    with pytest.raises(ScheduleSyntaxError, match="this step already has a delay, a@1[+]1"):
        Explorer(replay=Schedule([Delay("a", 1, 1), Delay("a", 1, 2)]))


def test_replay_of_a_missing_task_is_an_error() -> None:
    with pytest.raises(ReplayError) as raised:
        Explorer(replay="seller@1+1").explore(sells_too_often)
    assert str(raised.value) == snapshot(
        """\
seller@1+1 cannot be replayed: there is no task seller; those with arrivals are: look_and_sell, sell
The test has changed, or the version of Python\
"""
    )


def test_replay_of_a_missing_step_is_an_error() -> None:
    with pytest.raises(ReplayError) as raised:
        Explorer(replay="sell@7+1").explore(sells_too_often)
    assert str(raised.value) == snapshot(
        """\
sell@7+1 cannot be replayed: sell has no arrival at step 7; its steps are: 0 (start), 1 (yield)
The test has changed, or the version of Python\
"""
    )


def test_replay_of_an_injected_error_needs_its_option() -> None:
    with pytest.raises(ReplayError, match=r"write: faults=OSError"):
        Explorer(replay="sell@1!OSError").explore(sells_too_often)


@pytest.mark.parametrize(
    ("text", "meant"), [("cancl", "cancel"), ("slwo", "slow"), ("ConectionError", "ConnectionError")]
)
def test_replay_suggests_a_correction_for_a_typo(text: str, meant: str) -> None:
    with pytest.raises(ReplayError, match=rf"unknown fault !{text}: .*; did you mean !{meant}[?]"):
        Explorer(replay=f"sell@1!{text}", faults=ConnectionError).explore(sells_too_often)
