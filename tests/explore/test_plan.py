"""The effect of each deviation on a run."""

import asyncio
from typing import Any

import anyio.lowlevel
import pytest

Played = Any  # the fixtures
Order = Any


async def three() -> None:
    """Three tasks of two steps each."""

    async def job() -> None:
        await asyncio.sleep(0)

    await asyncio.gather(*[asyncio.create_task(job(), name=name) for name in "abc"])


@pytest.mark.parametrize(
    ("schedule", "order"),
    [
        ("", "a@0 b@0 c@0 | a@1 b@1 c@1"),
        ("a@0+1", "b@0 c@0 a@0 | b@1 c@1 a@1"),  # behind the whole queue
        ("a@0+2", "b@0 c@0 a@0 | b@1 c@1 a@1"),  # and behind the arrivals of the iteration: none
        ("a@0+3", "b@0 c@0 | b@1 c@1 a@0 | a@1"),  # the same in the next iteration
        ("a@0+5", "b@0 c@0 | b@1 c@1 | a@0 | a@1"),
        ("a@0+99", "b@0 c@0 | b@1 c@1 | a@0 | a@1"),  # no other step is left to run
        ("b@1+1", "a@0 b@0 c@0 | a@1 c@1 b@1"),
        ("a@0+1, b@0+1", "c@0 a@0 b@0 | c@1 a@1 b@1"),  # in the order in which they were delayed
        ("a@0+2, b@0+1", "c@0 b@0 a@0 | c@1 b@1 a@1"),
    ],
)
def test_what_is_late_enters_at_the_start_of_an_iteration(played: Played, schedule: str, order: str) -> None:
    """It enters behind the whole queue, never between queued handles."""
    iterations: dict[int, list[str]] = {}
    for step in played(three, schedule).trace.steps:
        if step.task in "abc":
            iterations.setdefault(step.entry // 4, []).append(f"{step.task}@{step.number}")
    assert " | ".join(map(" ".join, iterations.values())) == order


@pytest.mark.parametrize(("schedule", "disturbed"), [("a@5+1", 0), ("main@1+1", 0), ("a@1+1", 1), ("a@0+9", 1)])
def test_the_trace_says_of_whose_queue_something_was_taken_out(played: Played, schedule: str, disturbed: int) -> None:
    """It names no other iteration: neither one where a step that may not be delayed ran, nor one during a delay."""
    assert len(played(three, schedule).trace.disturbed) == disturbed


async def two_sleepers() -> None:
    async def sleep() -> None:
        await asyncio.sleep(1)

    async def work() -> None:
        await asyncio.sleep(1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    await asyncio.gather(sleep(), work())


def calls(run: Any) -> list[tuple[str, int, float]]:
    return [(step.task, step.entry // 4, step.time) for step in run.trace.steps if step.kind == "sleep"]


def test_timers_that_are_due_at_one_moment_may_fire_in_either_order(played: Played) -> None:
    assert calls(played(two_sleepers)) == [("sleep", 2, 1.0), ("work", 2, 1.0)]
    assert calls(played(two_sleepers, "sleep@1+1")) == [("work", 2, 1.0), ("sleep", 2, 1.0)]


@pytest.mark.parametrize(("by", "iteration"), [(1, 2), (2, 3), (3, 3), (4, 4)])
def test_a_timers_places_begin_behind_what_arrives_with_it(played: Played, by: int, iteration: int) -> None:
    [_, late] = calls(played(two_sleepers, f"sleep@1+{by}"))
    assert late == ("sleep", iteration, 1.0)


def test_what_was_cancelled_before_it_came_is_not_late(played: Played) -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().call_soon_threadsafe(len, "").cancel()
        await asyncio.sleep(0)

    assert list(map(str, played(scenario, "main:call+1").unused)) == ["main:call+1"]


def test_time_stands_still_for_lateness(played: Played) -> None:
    """However long its delay, an answer comes before the next timer."""

    async def scenario() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await asyncio.sleep(0.5)

    for schedule in ("main@1+99", "main@2+99"):
        run = played(scenario, schedule)
        assert run.unused == ()
        assert run.error is None


def test_only_arrivals_may_be_late(played: Played) -> None:
    """Not tasks woken by another task, nor tasks started deeper in the code."""

    async def scenario() -> None:
        ready = asyncio.Event()

        async def inner() -> None:
            ready.set()

        async def wait() -> None:
            await ready.wait()

        async def outer() -> None:
            await asyncio.create_task(inner())

        await asyncio.gather(wait(), outer())

    for schedule in ("wait@1+1", "outer/inner@0+1", "outer@1+1", "main@1+1"):
        assert len(played(scenario, schedule).unused) == 1
        assert played(scenario, schedule, arrivals="any").unused == ()
    assert played(scenario, "wait@0+1").unused == ()


@pytest.mark.parametrize(
    ("kind", "schedule"),
    [("start", "job@0+1"), ("yield", "job@1+1"), ("sleep", "job@2+1"), ("timer", "job:timer+1"), ("thread", "job@3+1")],
)
def test_only_the_kinds_of_arrival_asked_for_may_be_late(played: Played, kind: str, schedule: str) -> None:
    async def scenario() -> None:
        async def job() -> None:
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.5, len, "")
            await asyncio.sleep(1)
            await asyncio.to_thread(len, "")

        await asyncio.gather(job(), asyncio.sleep(2))

    for only in ("start", "yield", "sleep", "timer", "thread"):
        run = played(scenario, schedule, arrivals=only)
        assert bool(run.unused) == (only != kind)
        assert {step.kind for step in run.trace.steps} - {None} == {only}


def test_a_bare_yield_of_a_library_is_no_arrival(played: Played) -> None:
    """A yield that the project makes through a library's `sleep` or `checkpoint` is one: the two count as the same."""
    no_time = 0

    async def scenario() -> None:
        await anyio.Lock().acquire()
        await anyio.lowlevel.cancel_shielded_checkpoint()
        await anyio.sleep(no_time)
        await anyio.lowlevel.checkpoint()

    kinds = [step.kind for step in played(scenario).trace.steps if step.task == "main"]
    assert kinds == [None, None, None, "yield", "yield"]


# Cancel.


async def cancellable() -> list[str]:
    log = []
    answer = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        try:
            log.append(f"answered {await answer}")
            await asyncio.sleep(0)
            log.append("goes on")
        except asyncio.CancelledError:
            log.append(f"cancelled, answered: {answer.done() and not answer.cancelled()}")
            raise

    waiting = asyncio.create_task(wait())
    for _ in range(3):
        await asyncio.sleep(0)
    if not answer.done():
        answer.set_result(7)
    await asyncio.wait([waiting])
    raise LookupError(*log)


@pytest.mark.parametrize(
    ("schedule", "log"),
    [
        ("", ["answered 7", "goes on"]),
        ("wait@1!cancel", ["cancelled, answered: True"]),
        ("wait@1!cancel+0", ["cancelled, answered: False"]),
        ("wait@1!cancel+1", ["cancelled, answered: False"]),
        ("wait@1!cancel+2", ["cancelled, answered: True"]),
        ("wait@1!cancel+4", ["answered 7", "goes on"]),
        ("wait@2!cancel", ["answered 7", "cancelled, answered: True"]),
        ("wait@0!cancel", []),
    ],
)
def test_a_cancellation_comes_while_a_task_waits_or_when_it_is_answered(
    played: Played, schedule: str, log: list[str]
) -> None:
    run = played(cancellable, schedule)
    assert list(run.error.args) == log
    assert run.unused == ()


def test_a_cancellation_from_outside_is_one_call_of_its_own(played: Played) -> None:
    calls = [step for step in played(cancellable, "wait@1!cancel+1").trace.steps if step.task == "wait:cancel"]
    assert [(step.number, step.delivered, step.kind, step.time) for step in calls] == [(0, "call", None, 0)]


def test_a_cancellation_whose_place_never_comes_ends_a_wait_for_ever(played: Played) -> None:
    """It arrives when all other tasks are blocked: a deadlock that it would end is not reported."""

    async def scenario() -> None:
        async def wait() -> None:
            await asyncio.get_running_loop().create_future()

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(wait())

    run = played(scenario, "wait@1!cancel+50")
    assert (run.error, run.unused) == (None, ())


def test_a_cancellation_enters_behind_what_is_late_and_enters_there_too(played: Played) -> None:
    async def scenario() -> None:
        async def late() -> None:
            await asyncio.sleep(0)

        async def wait() -> None:
            await asyncio.get_running_loop().create_future()

        await asyncio.gather(late(), wait(), return_exceptions=True)

    steps = played(scenario, "late@1+1, wait@1!cancel+0").trace.steps
    entered = [
        (step.task, step.entry)
        for step in steps
        if step.task == "wait:cancel" or (step.task, step.number) == ("late", 1)
    ]
    assert entered == [("late", 9), ("wait:cancel", 9)]


@pytest.mark.parametrize("schedule", ["client#2@1!cancel", "client#2@1!cancel+0"])
def test_a_cancellation_that_ends_the_scenario_cuts_the_run(played: Played, schedule: str) -> None:
    async def scenario() -> None:
        async def client() -> None:
            await asyncio.sleep(1)

        await asyncio.gather(client(), client())

    run = played(scenario, schedule)
    assert run.is_cut
    assert run.error is None


@pytest.mark.parametrize("schedule", ["", "main@1+1"])
def test_a_scenario_that_cancels_itself_fails(played: Played, schedule: str) -> None:
    async def scenario() -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    run = played(scenario, schedule)
    assert not run.is_cut
    assert isinstance(run.error, asyncio.CancelledError)


# Raise.


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_what_a_task_waits_for_may_fail(played: Played, step: int) -> None:
    """A bare yield, a sleep, a thread, a mock."""
    from unittest.mock import AsyncMock

    async def scenario() -> int:
        at = 1
        try:
            await asyncio.sleep(0)
            at = 2
            await asyncio.sleep(1)
            at = 3
            await asyncio.to_thread(len, "")
            at = 4
            await AsyncMock()()
        except ConnectionError:
            assert at == step
            raise
        return at

    run = played(scenario, f"main@{step}!ConnectionError", inject_errors=ConnectionError)
    assert isinstance(run.error, ConnectionError)
    assert [each.delivered for each in run.trace.steps if (each.task, each.delivered) == ("main", "ConnectionError")]
    assert run.unused == ()


def test_an_instance_to_raise_is_copied(played: Played) -> None:
    error = OSError(5, "disk")

    async def scenario() -> None:
        await asyncio.sleep(0)

    raised = played(scenario, "main@1!OSError", inject_errors=error).error
    assert raised is not error
    assert raised.args == (5, "disk")
    assert error.__traceback__ is None


def test_a_callback_of_a_timer_waits_for_nothing_that_could_fail(played: Played) -> None:
    """It is called as usual."""
    calls: list[str] = []

    async def scenario() -> None:
        asyncio.get_running_loop().call_later(1, calls.append, "called")
        await asyncio.sleep(2)

    assert played(scenario, "main:timer@0!OSError", inject_errors=OSError).error is None
    assert calls == ["called"]


# Slow.


async def with_time_out() -> str:
    try:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
            await asyncio.sleep(1)
            await asyncio.to_thread(len, "")
    except TimeoutError:
        raise LookupError("timed out") from None
    return "in time"


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_slow_answer_outlasts_the_next_timer(played: Played, step: int) -> None:
    assert played(with_time_out).error is None
    run = played(with_time_out, f"main@{step}!outlast")
    assert str(run.error) == "timed out"
    assert run.trace.steps[-1].time == 5


def test_a_slow_answer_enters_in_the_iteration_after_the_timers(played: Played) -> None:
    assert calls(played(two_sleepers, "work@1!outlast")) == [("sleep", 2, 1.0), ("work", 3, 1.0)]


def test_a_slow_answer_keeps_nothing_else_from_entering(played: Played) -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().call_later(1, len, "")
        await two_sleepers()

    slow = played(scenario, "sleep@1+9, work@1!outlast")
    assert calls(slow) == [("work", 3, 1.0), ("sleep", 6, 1.0)]


def test_a_slow_answer_comes_when_there_is_no_timer(played: Played) -> None:
    async def scenario() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(1)

    for step in (1, 2):
        run = played(scenario, f"main@{step}!outlast")
        assert run.error is None
        assert run.unused == ()


@pytest.mark.parametrize("schedule", ["a@5+1", "a@5!outlast", "a@5!cancel", "a@5!ConnectionError"])
def test_a_deviation_that_finds_no_step_is_unused_whatever_it_is(played: Played, schedule: str) -> None:
    assert list(map(str, played(three, schedule, inject_errors=ConnectionError).unused)) == [schedule]


def test_deviations_that_find_no_step_are_unused(played: Played) -> None:
    run = played(three, "a@5+1, nobody@0!outlast, b@1+1")
    assert sorted(map(str, run.unused)) == ["a@5+1", "nobody@0!outlast"]
