"""The effect of each deviation on a run."""

import asyncio
from typing import Any

import anyio.lowlevel
import pytest

RunSchedule = Any  # the fixtures
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
def test_delayed_arrival_enters_at_the_start_of_an_iteration(
    run_schedule: RunSchedule, schedule: str, order: str
) -> None:
    """It enters behind the whole queue, never between queued handles."""
    iterations: dict[int, list[str]] = {}
    for step in run_schedule(three, schedule).trace.steps:
        if step.task in "abc":
            iterations.setdefault(step.entry // 4, []).append(f"{step.task}@{step.number}")
    assert " | ".join(map(" ".join, iterations.values())) == order


@pytest.mark.parametrize(("schedule", "disturbed"), [("a@5+1", 0), ("main@1+1", 0), ("a@1+1", 1), ("a@0+9", 1)])
def test_trace_records_the_iterations_whose_queue_lost_a_handle(
    run_schedule: RunSchedule, schedule: str, disturbed: int
) -> None:
    """It names no other iteration: neither one where a step that may not be delayed ran, nor one during a delay."""
    assert len(run_schedule(three, schedule).trace.disturbed) == disturbed


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


def test_simultaneous_timers_can_fire_in_either_order(run_schedule: RunSchedule) -> None:
    assert calls(run_schedule(two_sleepers)) == [("sleep", 2, 1.0), ("work", 2, 1.0)]
    assert calls(run_schedule(two_sleepers, "sleep@1+1")) == [("work", 2, 1.0), ("sleep", 2, 1.0)]


@pytest.mark.parametrize(("by", "iteration"), [(1, 2), (2, 3), (3, 3), (4, 4)])
def test_delayed_timer_enters_behind_simultaneous_arrivals(run_schedule: RunSchedule, by: int, iteration: int) -> None:
    [_, late] = calls(run_schedule(two_sleepers, f"sleep@1+{by}"))
    assert late == ("sleep", iteration, 1.0)


def test_handle_cancelled_before_its_arrival_is_not_delayed(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().call_soon_threadsafe(len, "").cancel()
        await asyncio.sleep(0)

    assert list(map(str, run_schedule(scenario, "main:call+1").unused)) == ["main:call+1"]


def test_delays_take_no_virtual_time(run_schedule: RunSchedule) -> None:
    """However long its delay, an answer comes before the next timer."""

    async def scenario() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await asyncio.sleep(0.5)

    for schedule in ("main@1+99", "main@2+99"):
        run = run_schedule(scenario, schedule)
        assert run.unused == ()
        assert run.error is None


def test_only_arrivals_can_be_delayed(run_schedule: RunSchedule) -> None:
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
        assert len(run_schedule(scenario, schedule).unused) == 1
        assert run_schedule(scenario, schedule, arrivals="any").unused == ()
    assert run_schedule(scenario, "wait@0+1").unused == ()


@pytest.mark.parametrize(
    ("kind", "schedule"),
    [("start", "job@0+1"), ("yield", "job@1+1"), ("sleep", "job@2+1"), ("timer", "job:timer+1"), ("thread", "job@3+1")],
)
def test_only_selected_kinds_of_arrival_can_be_delayed(run_schedule: RunSchedule, kind: str, schedule: str) -> None:
    async def scenario() -> None:
        async def job() -> None:
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.5, len, "")
            await asyncio.sleep(1)
            await asyncio.to_thread(len, "")

        await asyncio.gather(job(), asyncio.sleep(2))

    for only in ("start", "yield", "sleep", "timer", "thread"):
        run = run_schedule(scenario, schedule, arrivals=only)
        assert bool(run.unused) == (only != kind)
        assert {step.kind for step in run.trace.steps} - {None} == {only}


def test_bare_yield_of_a_library_is_not_an_arrival(run_schedule: RunSchedule) -> None:
    """A yield that the project makes through a library's `sleep` or `checkpoint` is one: the two count as the same."""
    no_time = 0

    async def scenario() -> None:
        await anyio.Lock().acquire()
        await anyio.lowlevel.cancel_shielded_checkpoint()
        await anyio.sleep(no_time)
        await anyio.lowlevel.checkpoint()

    kinds = [step.kind for step in run_schedule(scenario).trace.steps if step.task == "main"]
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
def test_cancellation_arrives_during_a_wait_or_as_the_task_resumes(
    run_schedule: RunSchedule, schedule: str, log: list[str]
) -> None:
    run = run_schedule(cancellable, schedule)
    assert list(run.error.args) == log
    assert run.unused == ()


def test_external_cancellation_is_a_separate_call(run_schedule: RunSchedule) -> None:
    calls = [step for step in run_schedule(cancellable, "wait@1!cancel+1").trace.steps if step.task == "wait:cancel"]
    assert [(step.number, step.delivered, step.kind, step.time) for step in calls] == [(0, "call", None, 0)]


def test_cancellation_at_an_unreached_place_ends_an_endless_wait(run_schedule: RunSchedule) -> None:
    """It arrives when all other tasks are blocked: a deadlock that it would end is not reported."""

    async def scenario() -> None:
        async def wait() -> None:
            await asyncio.get_running_loop().create_future()

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(wait())

    run = run_schedule(scenario, "wait@1!cancel+50")
    assert (run.error, run.unused) == (None, ())


def test_cancellation_enters_behind_a_delayed_arrival_of_the_same_place(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        async def late() -> None:
            await asyncio.sleep(0)

        async def wait() -> None:
            await asyncio.get_running_loop().create_future()

        await asyncio.gather(late(), wait(), return_exceptions=True)

    steps = run_schedule(scenario, "late@1+1, wait@1!cancel+0").trace.steps
    entered = [
        (step.task, step.entry)
        for step in steps
        if step.task == "wait:cancel" or (step.task, step.number) == ("late", 1)
    ]
    assert entered == [("late", 9), ("wait:cancel", 9)]


@pytest.mark.parametrize("schedule", ["client#2@1!cancel", "client#2@1!cancel+0"])
def test_cancellation_that_ends_the_scenario_cuts_the_run_short(run_schedule: RunSchedule, schedule: str) -> None:
    async def scenario() -> None:
        async def client() -> None:
            await asyncio.sleep(1)

        await asyncio.gather(client(), client())

    run = run_schedule(scenario, schedule)
    assert run.is_cut
    assert run.error is None


@pytest.mark.parametrize("schedule", ["", "main@1+1"])
def test_a_scenario_that_cancels_itself_fails(run_schedule: RunSchedule, schedule: str) -> None:
    async def scenario() -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    run = run_schedule(scenario, schedule)
    assert not run.is_cut
    assert isinstance(run.error, asyncio.CancelledError)


# Raise.


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_error_is_injected_into_each_kind_of_wait(run_schedule: RunSchedule, step: int) -> None:
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

    run = run_schedule(scenario, f"main@{step}!ConnectionError", faults=ConnectionError)
    assert isinstance(run.error, ConnectionError)
    assert [each.delivered for each in run.trace.steps if (each.task, each.delivered) == ("main", "ConnectionError")]
    assert run.unused == ()


def test_injected_exception_instance_is_copied(run_schedule: RunSchedule) -> None:
    error = OSError(5, "disk")

    async def scenario() -> None:
        await asyncio.sleep(0)

    raised = run_schedule(scenario, "main@1!OSError", faults=error).error
    assert raised is not error
    assert raised.args == (5, "disk")
    assert error.__traceback__ is None


def test_error_is_not_injected_into_a_timer_callback(run_schedule: RunSchedule) -> None:
    """It is called as usual."""
    calls: list[str] = []

    async def scenario() -> None:
        asyncio.get_running_loop().call_later(1, calls.append, "called")
        await asyncio.sleep(2)

    assert run_schedule(scenario, "main:timer@0!OSError", faults=OSError).error is None
    assert calls == ["called"]


# Slow.


async def with_timeout() -> str:
    try:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
            await asyncio.sleep(1)
            await asyncio.to_thread(len, "")
    except TimeoutError:
        pass
    else:
        return "in time"
    raise LookupError("timed out")


@pytest.mark.parametrize("step", [1, 2, 3])
def test_slow_result_outlasts_the_next_timer(run_schedule: RunSchedule, step: int) -> None:
    assert run_schedule(with_timeout).error is None
    run = run_schedule(with_timeout, f"main@{step}!slow")
    assert str(run.error) == "timed out"
    assert run.trace.steps[-1].time == 5


def test_slow_result_enters_in_the_iteration_after_the_timers(run_schedule: RunSchedule) -> None:
    assert calls(run_schedule(two_sleepers, "work@1!slow")) == [("sleep", 2, 1.0), ("work", 3, 1.0)]


def test_slow_result_does_not_hold_back_other_arrivals(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().call_later(1, len, "")
        await two_sleepers()

    slow = run_schedule(scenario, "sleep@1+9, work@1!slow")
    assert calls(slow) == [("work", 3, 1.0), ("sleep", 6, 1.0)]


def test_slow_result_arrives_if_there_is_no_timer(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(1)

    for step in (1, 2):
        run = run_schedule(scenario, f"main@{step}!slow")
        assert run.error is None
        assert run.unused == ()


@pytest.mark.parametrize("schedule", ["a@5+1", "a@5!slow", "a@5!cancel", "a@5!ConnectionError"])
def test_each_kind_of_deviation_without_a_step_is_unused(run_schedule: RunSchedule, schedule: str) -> None:
    assert list(map(str, run_schedule(three, schedule, faults=ConnectionError).unused)) == [schedule]


def test_all_deviations_without_a_step_are_unused(run_schedule: RunSchedule) -> None:
    run = run_schedule(three, "a@5+1, missing@0!slow, b@1+1")
    assert sorted(map(str, run.unused)) == ["a@5+1", "missing@0!slow"]
