"""The result of a thread may enter between any two steps, as on a real loop; otherwise no search is exhaustive."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import anyio.to_thread
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pytest_background_tasks import Delay, Explorer, ReplayError, Schedule, Trace
from pytest_background_tasks._explore.determinism import DeterministicProcess
from pytest_background_tasks._explore.entry_places import places_of_task
from pytest_background_tasks._explore.execution import Scenario, execute, playing
from pytest_background_tasks._explore.helper_thread import HelperThread
from pytest_background_tasks._explore.options import Options
from pytest_background_tasks._explore.search import Search
from pytest_background_tasks._explore.trace import PLACES

from ..conftest import RunSchedule

Ask = Callable[..., Any]


async def wakes(order: list[str], ask: Callable[[], Coroutine[Any, Any, None]], between: Callable[[], None]) -> None:
    """Two steps of one iteration wake x and y, while a thread results a third task."""
    x, y = asyncio.Event(), asyncio.Event()

    async def wait(name: str, event: asyncio.Event) -> None:
        await event.wait()
        order.append(name)

    async def client() -> None:
        await ask()
        order.append("T")

    async def first() -> None:
        await asyncio.sleep(0)
        x.set()

    async def second() -> None:
        await asyncio.sleep(0)
        between()
        y.set()

    await asyncio.gather(wait("x", x), wait("y", y), client(), first(), second())


def test_thread_result_arrives_between_two_steps_on_asyncios_loop() -> None:
    """The experiment on which the model is based. `second` only waits until the answer is in the queue."""
    order: list[str] = []
    go, answered = threading.Event(), threading.Event()

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()

        def work() -> None:
            go.wait(10)
            loop.call_soon_threadsafe(lambda: order.append("arrives") or answer.set_result(None))
            answered.set()

        threading.Thread(target=work).start()
        await answer

    def between() -> None:
        go.set()
        answered.wait(10)

    asyncio.run(wakes(order, ask, between))
    assert order == ["x", "arrives", "y", "T"]


def through_executor() -> Any:
    return asyncio.get_running_loop().run_in_executor(None, len, "")


@pytest.mark.parametrize(
    "ask", [lambda: asyncio.to_thread(len, ""), through_executor, lambda: anyio.to_thread.run_sync(len, "")]
)
def test_explorer_finds_thread_results_between_two_steps(ask: Ask) -> None:
    """The thread's call is recorded at once; the task that waits for the thread's result resumes an iteration later."""
    orders: set[str] = set()

    async def scenario() -> None:
        order: list[str] = []
        loop = asyncio.get_running_loop()

        def answer() -> None:
            loop.call_soon_threadsafe(order.append, "t")

        async def client() -> None:
            await asyncio.to_thread(answer)
            await ask()

        await wakes(order, client, lambda: None)
        orders.add("".join(order))

    exploration = Explorer(arrivals="thread", max_deviations=3, max_schedules=5000).explore(scenario)
    assert exploration.verdict == "exhaustive"
    assert any("xty" in order for order in orders), orders
    assert not any(order.index("T") < order.index("t") for order in orders), "the function sends, then it answers"


async def send_and_wake(log: list[str]) -> None:
    """One task sends a function to a thread, then three wake others in the same iteration."""
    events = [asyncio.Event() for _ in range(3)]

    async def wait(number: int) -> None:
        await events[number].wait()
        log.append(str(number))

    async def wake(number: int) -> None:
        events[number].set()

    async def client() -> None:
        await asyncio.to_thread(len, "")
        log.append("T")

    await asyncio.gather(*[wait(number) for number in range(3)], client(), *[wake(number) for number in range(3)])


@pytest.mark.parametrize(
    ("schedule", "ahead"),
    [("", 6), ("client@1+0.0", 0), ("client@1+0.1", 1), ("client@1+0.2", 2), ("client@1+0.9", 6), ("client@1+2.0", 6)],
)
def test_delay_specifies_the_number_of_handles_ahead(run_schedule: RunSchedule, schedule: str, ahead: int) -> None:
    """The queue of iteration 2 contains three tasks that resume, and three callbacks of ended tasks."""
    log: list[str] = []
    trace = run_schedule(lambda: send_and_wake(log), schedule).trace
    arrives = next(index for index, step in enumerate(trace.steps) if step.kind == "thread")
    assert sum(step.entry // PLACES == 2 for step in trace.steps[:arrives]) == ahead
    assert log == ["0", "1", "2", "T"]  # the task that it wakes runs an iteration later


def test_thread_result_never_arrives_before_its_request(run_schedule: RunSchedule) -> None:
    """It comes behind the handles that were queued when the function was sent to the thread."""

    async def scenario() -> None:
        asyncio.get_running_loop().call_soon(len, "")
        asked = asyncio.get_running_loop().run_in_executor(None, len, "")
        asyncio.get_running_loop().call_soon(list, "")
        await asked

    calls = [step.task for step in run_schedule(scenario, "main@1+0.0").trace.steps if step.delivered == "call"]
    assert calls == ["len", "main", "list"]


@pytest.mark.parametrize("schedule", ["client@1+1.0", "client@1+0.0"])
def test_only_thread_results_can_enter_between_queued_handles(schedule: str) -> None:
    async def scenario() -> None:
        async def client() -> None:
            await asyncio.sleep(0)

        await asyncio.gather(client(), client())

    with pytest.raises(ReplayError, match=r"client@1\+\d.0 cannot be replayed"):
        Explorer(replay=schedule).explore(scenario)


@pytest.mark.parametrize("by", [1, 2, 3, 4])
def test_calls_sent_by_a_thread_arrive_before_its_result(run_schedule: RunSchedule, by: int) -> None:
    log: list[str] = []

    async def scenario() -> None:
        log.clear()
        loop = asyncio.get_running_loop()
        await asyncio.gather(asyncio.to_thread(loop.call_soon_threadsafe, log.append, "sent"), asyncio.sleep(0))
        log.append("answered")

    for schedule in (f"to_thread:call+{by}", f"to_thread:call+{by}, to_thread@1+1", "to_thread@1+0.0"):
        run_schedule(scenario, schedule)
        assert log == ["sent", "answered"], schedule


# Cancellations by a task: between any two handles that do not stem from the same arrival.


def queued(*rows: tuple[int, str | None, int]) -> Trace:
    """Return a trace of steps: the entry of each, its kind of arrival, and the number of steps that it made ready."""
    return Trace(tuple(("a", 0, "value", 0.0, kind, entry, made, None) for entry, kind, made in rows))


@pytest.mark.parametrize(
    ("rows", "places"),
    [
        ([(0, None, 2), (4, None, 0), (4, None, 0)], {}),  # both belong to the scenario
        ([(0, None, 2), (4, "start", 0), (4, None, 0)], {1: [1]}),
        ([(0, None, 2), (4, "start", 1), (4, "start", 2), (8, None, 0), (8, None, 0), (8, None, 0)], {1: [1], 2: [1]}),
        ([(0, None, 1), (4, None, 0), (5, "start", 0)], {1: [0]}),  # an entering handle comes behind a task's step
        ([(0, None, 1), (4, "start", 0), (4, "start", 0)], {}),  # the origin of the second is unknown
    ],
)
def test_external_task_acts_between_two_arrivals(
    rows: list[tuple[int, str | None, int]], places: dict[int, list[int]]
) -> None:
    assert places_of_task(queued(*rows)) == places


@pytest.mark.parametrize(
    ("schedule", "order"),
    [
        ("waiter@1!cancel+0", "ab-"),  # behind both of them
        ("waiter@1!cancel+0.1", "a-b"),
        ("waiter@1!cancel+0.0", "-ab"),
        ("waiter@1!cancel+0.9", "ab-"),
    ],
)
def test_cancellation_by_a_task_enters_behind_a_given_number_of_handles(
    run_schedule: RunSchedule, schedule: str, order: str
) -> None:
    log: list[str] = []

    async def scenario() -> None:
        future = asyncio.get_running_loop().create_future()

        async def waiter() -> None:
            await future

        async def client(name: str) -> None:
            await asyncio.sleep(0)
            log.append("-" + name if future.cancelled() and "-" not in "".join(log) else name)

        await asyncio.gather(waiter(), client("a"), client("b"), return_exceptions=True)
        if "-" not in "".join(log):
            log.append("-")

    assert run_schedule(scenario, schedule, faults="cancel").unused == ()
    assert "".join(log) == order


JOBS = ["thread", "set 0", "set 1", "wait 0", "ask 0", "soon"]
programs = st.lists(st.lists(st.sampled_from(JOBS), min_size=1, max_size=2), min_size=2, max_size=3)


def scenario_of(programs: list[list[str]]) -> Scenario:
    async def scenario() -> None:
        events, loop = [asyncio.Event() for _ in range(2)], asyncio.get_running_loop()

        async def job(program: list[str]) -> None:
            for op in program:
                event = events[int(op[-1])] if op[-1].isdigit() else asyncio.Event()
                if op == "thread":
                    await asyncio.to_thread(len, "")
                elif op == "soon":
                    loop.call_soon(len, "")
                elif op.startswith("ask"):
                    asked = loop.run_in_executor(None, len, "")
                    event.set()
                    await asked
                elif op.startswith("wait"):
                    await event.wait()
                else:
                    event.set()

        tasks = [asyncio.ensure_future(job(program)) for program in programs]
        await asyncio.sleep(3)
        for event in events:
            event.set()
        await asyncio.gather(*tasks)

    return scenario


@settings(max_examples=12)
@example([["thread"], ["wait 0", "soon"], ["ask 0"]], 2)
@given(programs, st.integers(0, 3))
def test_exhaustive_search_equals_brute_force(programs: list[list[str]], seed: int) -> None:
    """The search finds every possible run, with the results of threads at all places."""
    assume(sum(op in ("thread", "ask 0") for program in programs for op in program) <= 2)
    scenario, options = scenario_of(programs), Options(arrivals="thread", max_deviations=99)
    found, everything, answers = set(), set(), set()
    search = Search(options, seed)
    with HelperThread() as helper, DeterministicProcess(may_raise=False):
        while (schedule := search.next()) is not None:
            run = execute(playing(scenario), schedule, options, helper)
            search.observe(Schedule(run.schedule - set(run.unused)), run.trace)
            found.add(run.trace.signature)
            answers |= run.trace.answers.keys()
        late = [
            [
                None,
                *(Delay(*key, by) for by in range(1, 7)),
                *(Delay(*key, by, n) for by in (0, 2, 4, 6) for n in range(4)),
            ]
            for key in answers
        ]
        for chosen in itertools.product(*late):
            everything.add(execute(playing(scenario), Schedule(filter(None, chosen)), options, helper).trace.signature)
    assert everything <= found
