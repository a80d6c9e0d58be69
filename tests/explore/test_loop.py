"""The loop plays asyncio's own order, and every schedule the same way twice."""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_background_tasks import Schedule
from pytest_background_tasks.explore.options import Options
from pytest_background_tasks.explore.play import Run, play
from pytest_background_tasks.explore.surroundings import surroundings
from pytest_background_tasks.explore.threads import HelperThread
from pytest_background_tasks.own import OwnCode


def played(scenario: Callable[[], Coroutine[Any, Any, Any]], text: str = "", **options: Any) -> Run:
    options.setdefault("is_own", OwnCode(Path(__file__).parent))
    with HelperThread() as helper, surroundings() as refresh:
        refresh()
        return play(scenario, Schedule.parse(text), Options(**options), helper)


class InOrderTimer(asyncio.TimerHandle):
    """Timers that are due at one moment fire in the order in which they were set."""

    count = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        InOrderTimer.count += 1
        self.number = InOrderTimer.count

    def __lt__(self, other: Any) -> bool:
        return (self.when(), self.number) < (other.when(), other.number)


class NumberedTask(asyncio.Task[Any]):
    """Sets of tasks are in the order of creation: a group cancels its children in that order."""

    count = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        NumberedTask.count += 1
        self.number = NumberedTask.count
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self.number


class ReferenceLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, its own `_run_once`, on a clock that jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.set_task_factory(lambda loop, coroutine, **kwargs: NumberedTask(coroutine, loop=loop, **kwargs))
        self.now = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None = None) -> Any:
            if timeout:
                self.now = self._scheduled[0].when()  # type: ignore[attr-defined]
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        timer = InOrderTimer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True
        return timer


def on_reference_loop(main: Coroutine[Any, Any, Any]) -> None:
    with asyncio.Runner(loop_factory=ReferenceLoop) as runner:
        runner.run(main)


Op = tuple[Any, ...]

simple: st.SearchStrategy[Op] = (
    st.tuples(st.just("sleep"), st.sampled_from([0, 0, 1, 2, 3]))
    | st.tuples(st.just("put"), st.integers(0, 1))
    | st.tuples(st.just("get"), st.integers(0, 1))
    | st.tuples(st.sampled_from(["set", "event", "cancel", "raise", "later", "soon"]))
)
ops: st.SearchStrategy[list[Op]] = st.recursive(
    st.lists(simple, max_size=4),
    lambda inner: st.lists(
        simple
        | st.tuples(st.sampled_from(["lock", "timeout", "wait_for", "task", "shield"]), inner)
        | st.tuples(st.sampled_from(["group", "gather", "wait", "as_completed"]), st.lists(inner, max_size=3)),
        max_size=4,
    ),
    max_leaves=10,
)


@dataclass
class Program:
    """Does random things with everything asyncio has, and keeps a log."""

    log: list[object] = field(default_factory=list)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    async def main(self, program: list[Op]) -> None:
        self.lock = asyncio.Lock()
        self.event = asyncio.Event()
        self.queues = [asyncio.Queue[int](1), asyncio.Queue[int]()]
        await self.run("0", program)
        while pending := [task for task in self.tasks if not task.done()]:
            await asyncio.wait(pending, timeout=5)
            for task in pending:
                task.cancel()
        self.note("end")

    def note(self, what: object) -> None:
        self.log.append((asyncio.get_running_loop().time(), what))

    async def run(self, name: str, program: list[Op]) -> None:
        try:
            for number, op in enumerate(program):
                self.note(f"{name}@{number}")
                await self.do(f"{name}.{number}", op)
        except BaseException as error:
            self.note(f"{name} {type(error).__name__}")
            raise
        self.note(f"{name} done")

    async def quietly(self, name: str, program: list[Op]) -> None:
        try:
            await self.run(name, program)
        except (Exception, asyncio.CancelledError):
            pass

    async def do(self, name: str, op: Op) -> None:
        match op:
            case ("sleep", seconds):
                await asyncio.sleep(seconds)
            case ("put", which):
                async with asyncio.timeout(2):
                    await self.queues[which].put(1)
            case ("get", which):
                await asyncio.wait_for(self.queues[which].get(), 2)
            case ("set",):
                self.event.set()
            case ("event",):
                async with asyncio.timeout(1):
                    await self.event.wait()
            case ("cancel",):
                for task in self.tasks[:1]:
                    task.cancel()
            case ("raise",):
                raise ValueError(name)
            case ("later",):
                asyncio.get_running_loop().call_later(1, self.note, f"{name} later")
            case ("soon",):
                asyncio.get_running_loop().call_soon(self.note, f"{name} soon")
            case ("lock", inner):
                async with self.lock:
                    await self.run(name, inner)
            case ("timeout", inner):
                async with asyncio.timeout(1):
                    await self.run(name, inner)
            case ("wait_for", inner):
                await asyncio.wait_for(self.run(name, inner), 1)
            case ("shield", inner):
                await asyncio.shield(asyncio.ensure_future(self.quietly(name, inner)))
            case ("task", inner):
                self.tasks.append(asyncio.create_task(self.quietly(name, inner)))
            case (kind, several):
                await self.do_several(name, kind, several)

    async def do_several(self, name: str, kind: str, several: list[list[Op]]) -> None:
        coroutines = [self.run(f"{name}.{number}", inner) for number, inner in enumerate(several)]
        if kind == "group":
            async with asyncio.TaskGroup() as group:
                for coroutine in coroutines:
                    group.create_task(coroutine)
        elif kind == "gather":
            await asyncio.gather(*coroutines, return_exceptions=True)
        elif kind == "wait" and coroutines:
            tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
            done, _ = await asyncio.wait(tasks)
            self.note(sum(task.cancelled() or task.exception() is not None for task in done))
        elif kind == "as_completed":
            tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
            for each in asyncio.as_completed(tasks):
                try:
                    await each
                except (Exception, asyncio.CancelledError) as error:
                    self.note(type(error).__name__)


async def guarded(program: Program, what: list[Op]) -> None:
    try:
        await program.main(what)
    except (Exception, asyncio.CancelledError) as error:
        program.note(f"main {type(error).__name__}")
        for task in program.tasks:
            task.cancel()
        await asyncio.wait([*program.tasks, asyncio.ensure_future(asyncio.sleep(0))])


@settings(deadline=None, max_examples=300)
@given(ops)
def test_the_empty_schedule_is_asyncios_own_order_step_for_step(what: list[Op]) -> None:
    ours, theirs = Program(), Program()
    run = played(lambda: guarded(ours, what))
    assert run.error is None
    on_reference_loop(guarded(theirs, what))
    assert ours.log == theirs.log
