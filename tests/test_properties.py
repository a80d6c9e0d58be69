"""Properties of all programs: held tasks, when they are run, behave as if they had not been held."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_background_tasks import BackgroundTasks
from pytest_background_tasks._control.test_context import TestContext
from pytest_background_tasks._introspect.project_code import ProjectCode


@pytest.fixture(autouse=True)
def collect_garbage() -> Iterator[None]:
    """Retrieve the failed tasks of these programs now, not while another test parses (see `syntax`)."""
    yield
    gc.collect()


@dataclass(frozen=True)
class Job:
    """The script of one task: it yields, and starts others; then it returns, raises, or cancels itself."""

    steps: "tuple[Job | None, ...]"
    end: str


jobs = st.recursive(
    st.builds(Job, st.lists(st.none(), max_size=3).map(tuple), st.sampled_from(["return", "raise", "cancel"])),
    lambda jobs: st.builds(
        Job, st.lists(jobs | st.none(), max_size=4).map(tuple), st.sampled_from(["return", "raise"])
    ),
    max_leaves=12,
)


class Program:
    """A program that runs jobs and logs the order of their steps."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.tasks: list[asyncio.Task[str]] = []

    def start(self, job: Job, name: str) -> None:
        self.tasks.append(asyncio.create_task(self.run_job(job, name), name=name))

    async def run_job(self, job: Job, name: str) -> str:
        for number, step in enumerate(job.steps):
            self.log.append(f"{name}@{number}")
            if step is None:
                await asyncio.sleep(0)
            else:
                self.start(step, f"{name}/{number}")
        self.log.append(f"{name} {job.end}")
        if job.end == "raise":
            raise ValueError(name)
        if job.end == "cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel(name)
            await asyncio.sleep(0)
        return name

    async def run_in_asyncio(self, program: list[Job]) -> list[str]:
        for number, job in enumerate(program):
            self.start(job, str(number))
        for task in self.tasks:  # grows
            await asyncio.wait({task})
        return [outcome(task) for task in self.tasks]


def outcome(task: asyncio.Task[str]) -> str:
    return "cancelled" if task.cancelled() else repr(task.exception() or task.result())


def make_context() -> TestContext:
    return TestContext(ProjectCode(Path(__file__).parent), "a property", None, 10, 0.02)


def captured(program: list[Job], run: Callable[[BackgroundTasks], Any]) -> tuple[list[str], list[str]]:
    """Return the log and the outcomes of `program`, whose tasks are held first and then started by `run`."""
    context, interpreter = make_context(), Program()
    background_tasks = BackgroundTasks(context)

    async def main() -> None:
        background_tasks.start_capturing()
        for number, job in enumerate(program):
            interpreter.start(job, str(number))
        results = run(background_tasks)
        if asyncio.iscoroutine(results):
            results = await results
        assert [type(result) for result in results] == [
            asyncio.CancelledError if task.cancelled() else type(task.exception() or task.result())
            for task in interpreter.tasks
        ]

    try:
        asyncio.run(main())
    finally:
        context.close()
    return interpreter.log, [outcome(task) for task in interpreter.tasks]


programs = st.lists(jobs, max_size=4)


@settings(max_examples=60)
@given(programs)
def test_running_held_tasks_equals_running_them_in_asyncio(program: list[Job]) -> None:
    """run_all_async leads to the same steps in the same order, and to the same outcomes, as asyncio."""
    plain = Program()
    outcomes = asyncio.run(plain.run_in_asyncio(program))
    assert captured(program, lambda tasks: tasks.run_all_async(return_exceptions=True)) == (plain.log, outcomes)


@settings(max_examples=60)
@given(programs)
def test_run_all_sync_equals_run_all_async(program: list[Job]) -> None:
    assert captured(program, lambda tasks: tasks.run_all_sync(return_exceptions=True)) == captured(
        program, lambda tasks: tasks.run_all_async(return_exceptions=True)
    )


@pytest.mark.background_tasks(unhandled="ignore")  # its jobs fail, and it drops some of them on purpose
@settings(max_examples=60)
@given(programs, st.lists(st.sampled_from(["run_all_sync", "reset", "stop", "start", "first", "cancel"]), max_size=8))
def test_each_task_runs_at_most_once_in_any_sequence_of_actions(program: list[Job], actions: list[str]) -> None:
    """The fixture never loses count: each captured task is held, running or finished."""
    context, interpreter = make_context(), Program()
    background_tasks = BackgroundTasks(context)

    async def main() -> None:
        background_tasks.start_capturing()
        for action in actions:
            for job in program:
                interpreter.start(job, f"{len(interpreter.tasks)}")
            held = background_tasks.held_tasks
            if action == "run_all_sync":
                background_tasks.run_all_sync(return_exceptions=True)
                assert not set(held) & set(background_tasks.held_tasks)
            elif action == "first" and held:
                background_tasks.run_sync(held[0], return_exceptions=True)
            elif action == "cancel" and held:
                held[-1].task.cancel()
            elif action == "reset":
                background_tasks.reset()
                assert background_tasks.task_count == 0
            elif action in ("start", "stop"):
                getattr(background_tasks, f"{action}_capturing")()
            states = [task.state for task in background_tasks.captured_tasks]
            assert states.count("held") == len(background_tasks.held_tasks)
        background_tasks.stop_capturing()
        await background_tasks.run_all_async(return_exceptions=True)
        await asyncio.gather(*interpreter.tasks, return_exceptions=True)

    try:
        asyncio.run(main())
    finally:
        context.close()
    assert len(interpreter.log) == len(set(interpreter.log))


@settings(max_examples=60)
@given(programs)
def test_running_a_program_twice_gives_the_same_log(program: list[Job]) -> None:
    def run(tasks: BackgroundTasks) -> Any:
        return tasks.run_all_async(return_exceptions=True)

    assert captured(program, run) == captured(program, run)
