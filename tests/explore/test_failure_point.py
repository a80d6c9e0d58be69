"""A failure can be inspected when it happens: no frame is unwound, and the loop is running."""

import asyncio
import linecache
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

import pytest

from pytest_background_tasks import DeadlockError, Explorer, LeakedTasks, StepLimitExceeded
from pytest_background_tasks._explore.result import Failure


def failure_of(scenario: Callable[[], Coroutine[Any, Any, object]], **options: Any) -> Failure:
    failure = Explorer(**options).explore(scenario).failure
    assert failure is not None
    return failure


class Observation:
    """The observations at the moment of the failure."""

    def __init__(self, failure: Failure) -> None:
        self.times = 0
        with pytest.raises(BaseException, match=".*") as raised:
            failure.reproduce(self._look)
        assert repr(raised.value) == repr(failure.error)

    def _look(self, error: BaseException) -> None:
        self.times += 1
        self.error = error
        self.frames: list[FrameType] = []
        traceback = error.__traceback__
        while traceback is not None:
            self.frames.append(traceback.tb_frame)
            traceback = traceback.tb_next
        self.lines = [linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() for frame in self.frames]
        self.variables = {name: repr(value) for name, value in self.frames[-1].f_locals.items()} if self.frames else {}
        self.stacks = [task.get_stack() for task in asyncio.all_tasks()]
        self.tasks = {task.get_coro().__name__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]


async def job() -> None:
    await asyncio.sleep(1)


async def overtaken() -> None:
    """Fail in a task of a group if the first answer is delayed."""
    done: list[str] = []

    async def client(name: str) -> None:
        await asyncio.sleep(0)
        await book(name)

    async def book(name: str) -> None:
        try:
            if name == "second":
                assert done, "overtaken"
            done.append(name)
        finally:
            done.append("unwound")

    async with asyncio.TaskGroup() as group:
        group.create_task(job())
        group.create_task(client("first"))
        group.create_task(client("second"))


def test_inspection_sees_the_raising_frame_before_unwinding() -> None:
    """All frames of the task are there, and the group around it has not cancelled the others."""
    seen = Observation(failure_of(overtaken))
    assert seen.times == 1
    assert str(seen.error).startswith("overtaken")
    assert seen.lines == ["await book(name)", 'assert done, "overtaken"']
    assert seen.variables["done"] == "[]"
    assert seen.tasks == {"overtaken", "job", "client"}


def test_caught_errors_are_skipped() -> None:
    """Even with the same class and line. Classes are compared by name: a run may define them anew."""

    async def scenario() -> None:
        class Wrong(Exception): ...

        async def check(number: int) -> None:
            raise Wrong(number)

        for number in range(3):
            try:
                await check(number)
            except Wrong:
                if number == 2:
                    raise

    assert Observation(failure_of(scenario)).variables["number"] == "2"


def test_thread_error_is_inspected_where_its_result_is_awaited() -> None:
    def work() -> None:
        raise LookupError

    async def scenario() -> None:
        await asyncio.to_thread(work)

    seen = Observation(failure_of(scenario))
    assert (seen.lines[0], seen.lines[-1]) == ("await asyncio.to_thread(work)", "raise LookupError")


def test_never_retrieved_error_is_inspected_where_it_is_raised() -> None:
    async def scenario() -> None:
        async def background() -> None:
            raise LookupError

        task = asyncio.create_task(background())
        await asyncio.sleep(1)
        assert task.done()

    seen = Observation(failure_of(scenario))
    assert seen.lines == ["raise LookupError"]
    assert seen.tasks == {"scenario", "background"}


def test_deadlock_is_inspected_where_the_scenario_waits() -> None:
    """In the scenario's own code, not inside asyncio; the loop looks as if it were running."""

    async def scenario() -> None:
        async def client(event: asyncio.Event) -> None:
            await event.wait()

        first = asyncio.create_task(client(asyncio.Event()))
        await first

    seen = Observation(failure_of(scenario))
    assert isinstance(seen.error, DeadlockError)
    assert seen.lines == ["await first"]
    assert len(seen.stacks) == 2
    assert all(seen.stacks)
    assert seen.tasks == {"scenario", "client"}


def test_livelock_and_leak_are_inspected_where_a_task_waits() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    seen = Observation(failure_of(spin, max_steps=50))
    assert isinstance(seen.error, StepLimitExceeded)
    assert seen.lines == ["await asyncio.sleep(0)"]

    async def leak() -> None:
        leaking = asyncio.create_task(job())
        await asyncio.sleep(0)
        assert not leaking.done()

    seen = Observation(failure_of(leak, fail_on_leaks=True))
    assert isinstance(seen.error, LeakedTasks)
    assert seen.lines == ["await asyncio.sleep(1)"]


def test_error_of_the_inspection_is_hidden_from_the_program() -> None:
    """It propagates at the end, as when a user quits the debugger."""
    caught = []

    async def scenario() -> None:
        try:
            await overtaken()
        except* Exception as error:
            caught.append(error.exceptions[0])
            raise

    def look(error: BaseException) -> None:
        raise SystemExit("quit")

    failure = failure_of(scenario)
    caught.clear()
    with pytest.raises(SystemExit, match="quit"):
        failure.reproduce(look)
    assert {type(error) for error in caught} == {AssertionError}


def test_breakpoints_do_not_stop_before_the_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracers of the process, such as coverage, continue to trace."""
    stops: list[None] = []
    monkeypatch.setattr("sys.breakpointhook", lambda: stops.append(None))

    async def scenario() -> None:
        breakpoint()
        await overtaken()

    failure = failure_of(scenario)
    stops.clear()

    def tracer(*_: object) -> None: ...

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        assert Observation(failure).times == 1
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)
    assert stops == []


def test_failure_caused_by_a_cancellation_is_inspected() -> None:
    """At the later line that raises it, not where the cancellation arrives."""

    async def scenario() -> None:
        done: list[None] = []

        async def client() -> None:
            await asyncio.sleep(0)
            done.append(None)

        task = asyncio.create_task(client())
        await asyncio.wait([task])
        assert done

    failure = failure_of(scenario, faults="cancel:client")
    assert "cancel" in str(failure.schedule)
    assert Observation(failure).lines == ["assert done"]


def test_unreproducible_failure_is_not_inspected() -> None:
    """No error is raised either."""
    mended: list[None] = []
    looked: list[BaseException] = []

    async def scenario() -> None:
        if not mended:
            await overtaken()

    failure = failure_of(scenario)
    mended.append(None)
    failure.reproduce(looked.append)
    failure.reproduce()
    assert looked == []
