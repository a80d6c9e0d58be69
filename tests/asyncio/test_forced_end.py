"""Tasks that wait in circles or refuse to end neither hide earlier findings when they are ended, nor hang."""

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from textwrap import indent
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_background_tasks import BackgroundTasks, DeadlockError, Explorer
from pytest_background_tasks._asyncio import forced_end
from pytest_background_tasks._asyncio.forced_end import circle_from

PLUGINS = ("pytest_asyncio.plugin",)
Scenario = Callable[[], Coroutine[Any, Any, None]]

Waiting = Callable[[dict[str, "asyncio.Task[None]"], str], Any]
LINKS: dict[str, Waiting] = {
    "await": lambda tasks, name: tasks[name],
    "gather": lambda tasks, name: asyncio.gather(tasks[name], asyncio.sleep(0)),
    "nested": lambda tasks, name: asyncio.gather(asyncio.gather(tasks[name])),
}


def cycle(links: list[Waiting], names: str, ends: bool = True) -> Scenario:
    """Return a scenario in which each task waits for the next one."""

    async def scenario() -> None:
        tasks: dict[str, asyncio.Task[None]] = {}

        async def wait_for(name: str, link: Waiting) -> None:
            await link(tasks, name)

        for name, following, link in zip(names, names[1:] + names[0], links, strict=True):
            tasks[name] = asyncio.create_task(wait_for(following, link), name=name)
        await asyncio.wait(tasks.values(), timeout=10)
        assert not ends or tasks[names[0]].done()

    return scenario


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("names", ["a", "ab", "abc"])
@pytest.mark.parametrize("link", LINKS)
def test_cycle_of_waiting_tasks_is_a_deadlock(link: str, names: str, ends: bool) -> None:
    """The error names the tasks that wait for each other, even if the scenario passes: no runner could end them."""
    if link == "await" and names == "a":
        pytest.skip("a task that awaits itself gets a RuntimeError from asyncio")
    failure = Explorer().explore(cycle([LINKS[link]] * len(names), names, ends)).failure
    assert failure is not None
    assert isinstance(failure.error, DeadlockError)
    assert isinstance(failure.error.__cause__, AssertionError) is ends
    for name, following in zip(names, names[1:] + names[0], strict=True):
        assert f"\n  {name} waits at tests/asyncio/test_forced_end.py:" in str(failure.error)
        assert f"for the task {following}" in str(failure.error) or link != "await"
    assert "main" not in str(failure.error)
    with pytest.raises(DeadlockError):
        failure.reproduce()


def test_cycle_that_blocks_the_scenario_is_a_deadlock() -> None:
    async def scenario() -> None:
        tasks: dict[str, asyncio.Task[None]] = {}

        async def wait_for(name: str) -> None:
            await tasks[name]

        tasks |= {name: asyncio.create_task(wait_for(following), name=name) for name, following in ("ab", "ba")}
        await tasks["a"]

    failure = Explorer(faults="cancel").explore(scenario).failure
    assert failure is not None
    assert str(failure.error).startswith("every task is blocked:")
    assert "for the task b" in str(failure.error)
    assert failure.schedule == set()


def test_cycle_with_a_shield_can_be_cancelled() -> None:
    """A cycle that the scenario does not wait for does not fail the scenario."""

    async def scenario() -> None:
        tasks: dict[str, asyncio.Task[None]] = {}

        async def wait_for(name: str) -> None:
            await asyncio.shield(tasks[name])

        tasks |= {name: asyncio.create_task(wait_for(following), name=name) for name, following in ("ab", "ba")}
        await asyncio.wait(tasks.values(), timeout=10)

    assert Explorer(max_schedules=5).explore(scenario).failure is None


def test_cancelling_a_cycle_only_causes_a_recursion_error() -> None:
    """It has no effect except asyncio's RecursionError, which the canceller would get in production as well."""

    async def scenario() -> None:
        tasks: dict[str, asyncio.Task[None]] = {}

        async def fail() -> None:
            await asyncio.sleep(1)
            raise KeyError

        async def wait_for(name: str, *others: Coroutine[Any, Any, None]) -> None:
            await asyncio.gather(tasks[name], *others)

        tasks["a"] = asyncio.create_task(wait_for("b"), name="a")
        tasks["b"] = asyncio.create_task(wait_for("a", fail()), name="b")
        await asyncio.wait(tasks.values())
        assert [type(task.exception()) for task in tasks.values()] == [KeyError, KeyError]

    exploration = Explorer(faults=["cancel:a", "cancel:b"], max_deviations=1).explore(scenario)
    assert exploration.verdict == "bounded"


def test_skip_takes_precedence_over_a_cycle() -> None:
    scenario = cycle([LINKS["await"]] * 2, "ab")

    async def skipping() -> None:
        try:
            await scenario()
        except AssertionError:
            pytest.skip("no")

    with pytest.raises(pytest.skip.Exception):
        Explorer(propagate=(pytest.skip.Exception,)).explore(skipping)


def test_cycle_is_found_among_tasks_that_wait_for_several() -> None:
    """The cycle is found behind tasks that were already visited, and among tasks that end."""

    async def main() -> None:
        tasks: dict[str, asyncio.Task[None]] = {}

        async def wait_for(*names: str) -> None:
            await asyncio.gather(*(tasks[name] for name in names))

        waits = {"a": "bc", "b": "d", "c": "de", "d": "", "e": "a", "f": "a"}
        for name, others in waits.items():
            waiting = wait_for(*others) if others else asyncio.sleep(60)
            tasks[name] = asyncio.create_task(waiting, name=name)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        found = {name: "".join(sorted(each.get_name() for each in circle_from(tasks[name]))) for name in tasks}
        assert found == {"a": "ace", "b": "", "c": "ace", "d": "", "e": "ace", "f": "ace"}
        tasks["d"].cancel()
        await asyncio.wait(tasks.values())

    asyncio.run(main())


STUBBORN = """
async def swallows():
    while True:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            pass

async def swallows_all():
    while True:
        try:
            await asyncio.sleep(1)
        except BaseException:
            pass

async def swallows_behind():
    await swallows_all()

async def swallows_in_group():
    async with asyncio.TaskGroup():
        await swallows()

async def waits_again():
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(60)

async def waits_again_when_closed():
    try:
        await asyncio.get_running_loop().create_future()
    except BaseException:
        await asyncio.get_running_loop().create_future()

async def returns():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return

async def generates():
    try:
        while True:
            yield
    finally:
        await swallows()

async def uses_generator():
    async for _ in generates():
        await asyncio.sleep(60)

async def abandons_generator():
    async for _ in generates():
        break
    await asyncio.sleep(60)

def raising(error):
    async def raises():
        try:
            await asyncio.sleep(60)
        finally:
            raise error
    return raises

def raising_when_closed(error):
    async def raises():
        while True:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                pass
            except GeneratorExit:
                raise error
    return raises

def stopping(error):
    async def stops():
        def stop(_):
            raise error
        asyncio.current_task().add_done_callback(stop)
        await asyncio.sleep(60)
    return stops

async def cancels_all():
    try:
        await asyncio.sleep(60)
    finally:
        for task in asyncio.all_tasks():
            task.cancel()

async def starts_more():
    try:
        await asyncio.sleep(60)
    finally:
        asyncio.create_task(waits_again())

async def stops_the_loop():
    try:
        await asyncio.sleep(60)
    finally:
        asyncio.get_running_loop().stop()

KINDS = {function.__name__: function for function in (
    swallows, swallows_all, swallows_behind, swallows_in_group, waits_again, waits_again_when_closed, returns,
    uses_generator, abandons_generator, cancels_all, starts_more, stops_the_loop,
)}
for error in (KeyError, KeyboardInterrupt, SystemExit, GeneratorExit, BaseException, StopAsyncIteration):
    KINDS[f"raises {error.__name__}"] = raising(error)
    KINDS[f"raises {error.__name__} when closed"] = raising_when_closed(error)
    KINDS[f"raises {error.__name__} in callback"] = stopping(error)
"""
NAMES: dict[str, Any] = {"asyncio": asyncio}
exec(STUBBORN, NAMES)
KINDS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = NAMES["KINDS"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_broken", [True, False])
def test_cleanup_after_a_run_does_not_change_its_outcome(kind: str, is_broken: bool) -> None:
    """The result of the run stays the same whatever a remaining task does, and nothing is reported later."""
    unraisable = []

    async def scenario() -> None:
        tasks = [asyncio.create_task(KINDS[kind]()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not is_broken, "it is broken"
        assert not any(task.done() for task in tasks)

    hook, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        exploration = Explorer(max_schedules=5, max_deviations=1, arrivals="yield").explore(scenario)
        gc.collect()
    finally:
        sys.unraisablehook = hook
    assert str(exploration.failure and exploration.failure.error).startswith("it is broken" if is_broken else "None")
    assert not unraisable


def test_keyboard_interrupt_ends_the_cleanup_after_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised in the loop, not in a task."""

    async def scenario() -> None:
        asyncio.create_task(KINDS["swallows"]()).add_done_callback(lambda _: None)
        asyncio.get_running_loop()._jump = interrupt  # type: ignore[attr-defined]

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Explorer().explore(scenario)


NODE = st.tuples(st.sampled_from(["sleep", "stubborn", *LINKS, "shield", "wait", "group"]), st.integers(0, 4))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(nodes=st.lists(st.tuples(NODE, st.sampled_from(list(KINDS))), min_size=1, max_size=5), is_broken=st.booleans())
def test_cleanup_preserves_the_outcome_of_generated_programs(nodes: Any, is_broken: bool) -> None:
    """Only the cycle of the program may be found in addition."""

    async def scenario() -> None:
        tasks: list[asyncio.Task[Any]] = []

        async def run(how: str, other: int, kind: str) -> None:
            waited = tasks[other % len(nodes)]
            if how == "sleep":
                await asyncio.sleep(60)
            elif how == "stubborn":
                await KINDS[kind]()
            elif waited is asyncio.current_task() and how == "await":
                await asyncio.sleep(60)
            elif how == "shield":
                await asyncio.shield(waited)
            elif how == "wait":
                await asyncio.wait([waited])
            elif how == "group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(KINDS[kind]())
            else:
                await LINKS[how]({"it": waited}, "it")

        tasks += [asyncio.create_task(run(*node, kind)) for node, kind in nodes]
        await asyncio.sleep(0.1)
        assert not is_broken, "it is broken"

    failure = Explorer(max_schedules=1).explore(scenario).failure
    if failure is not None and isinstance(failure.error, DeadlockError):
        assert str(failure.error.__cause__).startswith("it is broken" if is_broken else "None")
    else:
        assert str(failure and failure.error).startswith("it is broken" if is_broken else "None")


# The same in tests without @explore.

IGNORING = ("-W", "ignore::pytest_background_tasks.BackgroundTaskWarning")

CYCLE = """
    pytestmark = pytest.mark.asyncio

    def start():
        tasks = {}

        async def wait_for(name):
            await tasks[name]

        for name, following in ("ab", "ba"):
            tasks[name] = asyncio.create_task(wait_for(following), name=name)
        return tasks
"""
WAITS = {
    "for one task": "await start()['a']",
    "for all tasks": "await asyncio.wait(start().values())",
    "from inside": """
        test = asyncio.current_task()
        async def wait_for_test():
            await test
        await asyncio.create_task(wait_for_test())
    """,
    "from outside": "start(); await asyncio.Event().wait()",
    "through gather": """
        async def wait():
            await asyncio.gather(task)
        task = asyncio.create_task(wait())
        await task
    """,
}


@pytest.mark.parametrize("waits", WAITS)
@pytest.mark.parametrize("fixtures", ["", "virtual_time"])
def test_cycle_fails_an_ordinary_test_with_a_deadlock(run, waits: str, fixtures: str) -> None:
    """Neither the deadlock detector nor the runner follows the cycle endlessly."""
    body = indent(WAITS[waits].strip("\n"), "" if "\n" in WAITS[waits] else " " * 8)
    result = run(
        f"""{CYCLE}
    async def test_it({fixtures}):
{body}

    async def test_other():
        pass
    """,
        "--background-tasks-deadlock=error",
        plugins=PLUGINS,
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E  *DeadlockError: every task is blocked:", "E  *waits at *"])
    result.stdout.no_fnmatch_line("*RecursionError*")


@pytest.mark.asyncio
async def test_reset_ends_captured_tasks_in_a_cycle(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    tasks: dict[str, asyncio.Task[None]] = {}
    ended = []

    async def wait_for(name: str) -> None:
        try:
            await tasks[name]
        finally:
            ended.append(name)

    tasks |= {name: asyncio.create_task(wait_for(following)) for name, following in ("ab", "bc", "ca")}
    await background_tasks.run_until_idle_async()
    background_tasks.reset()
    await asyncio.sleep(0.001)
    assert sorted(ended) == ["a", "b", "c"]
    assert all(task.cancelled() for task in tasks.values())


def test_captured_tasks_in_a_cycle_end_with_the_test(run) -> None:
    """This holds in an async test and in a `def` test."""
    result = run(
        f"""{CYCLE}
    pytestmark = []

    @pytest.mark.asyncio
    async def test_async(background_tasks):
        background_tasks.start_capturing()
        start()
        await background_tasks.run_until_idle_async()

    def test_def(background_tasks):
        background_tasks.start_capturing()
        start()
        background_tasks.run_until_idle_sync()
    """,
        plugins=PLUGINS,
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("kind", KINDS)
def test_stubborn_captured_tasks_end_with_the_test(run, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This takes two seconds at most, and the next test runs."""
    monkeypatch.setattr(forced_end, "PATIENCE", 0.02)
    result = run(
        f"""{indent(STUBBORN, "    ")}
    def test_it(background_tasks):
        background_tasks.start_capturing()
        asyncio.create_task(KINDS[{kind!r}]())
        background_tasks.run_until_idle_sync()

    def test_other(background_tasks):
        background_tasks.start_capturing()
    """,
        *IGNORING,
    )
    result.assert_outcomes(passed=2)
