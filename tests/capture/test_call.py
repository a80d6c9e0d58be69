"""The call of a task is read before it starts, whatever the type of its coroutine."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

import pytest
from starlette.background import BackgroundTask

from pytest_background_tasks import BackgroundTasks


async def every_kind(a: int, /, b: int, *args: int, c: int = 3, **kwargs: int) -> None: ...


async def test_arguments_include_parameters_of_every_kind(background_tasks: BackgroundTasks) -> None:
    """The arguments stay the same after the task has run and changed its variables."""

    async def forgetful(name: str) -> str:
        name += "!"
        return name.strip()

    background_tasks.start_capturing()
    asyncio.create_task(every_kind(1, 2, 22, d=4))
    asyncio.create_task(forgetful("ada"))
    await background_tasks.run_all_async()
    first, second = background_tasks.captured_tasks
    assert first.arguments == {"a": 1, "b": 2, "args": (22,), "c": 3, "kwargs": {"d": 4}}
    assert second.arguments == {"name": "ada"}
    assert (first.function, first.module) == ("every_kind", __name__)


async def test_custom_coroutine_class_has_no_arguments(background_tasks: BackgroundTasks) -> None:
    """A coroutine of compiled code has no frame, so its arguments are unknown."""

    class Compiled(Coroutine[Any, Any, str]):
        def send(self, value: object) -> Any:
            raise StopIteration(value or "sent")

        def throw(self, *error: Any) -> Any:
            raise error[0]

        def __await__(self) -> Generator[Any, Any, str]:
            raise NotImplementedError

        def close(self) -> None: ...

    background_tasks.start_capturing()
    asyncio.create_task(Compiled())
    [captured] = background_tasks.captured_tasks
    assert captured.function.endswith("Compiled")
    assert captured.arguments == {}
    assert await background_tasks.run_all_async() == ["sent"]


async def test_suspended_at_follows_generators_of_awaitables(background_tasks: BackgroundTasks) -> None:
    """The await chain passes through the generators of awaitable objects."""
    event = asyncio.Event()

    class Awaitable:
        def __await__(self) -> Generator[Any, None, bool]:
            return (yield from event.wait().__await__())

    async def job() -> bool:
        return await Awaitable()

    background_tasks.start_capturing()
    task = asyncio.create_task(job())
    background_tasks.stop_capturing()
    waiting = asyncio.gather(task)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    [captured] = background_tasks.captured_tasks
    assert captured.suspended_at is not None
    assert captured.suspended_at.function.endswith("Awaitable.__await__")
    event.set()
    assert await waiting == [True]


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        (BackgroundTask(every_kind, 1, 2, d=4), {"a": 1, "b": 2, "args": (), "c": 3, "kwargs": {"d": 4}}),
        (BackgroundTask(every_kind, 1, nonsense=2), {"args": (1,), "nonsense": 2}),
        (BackgroundTask(len, "x"), {"obj": "x"}),
        (BackgroundTask(dict, x=1), {"x": 1}),
    ],
    ids=["bound", "not bindable", "builtin", "without a signature"],
)
async def test_starlette_task_has_its_arguments(
    background_tasks: BackgroundTasks, task: BackgroundTask, arguments: dict[str, Any]
) -> None:
    """A call that cannot be bound shows its arguments unnamed; it fails when it is made, as in production."""
    background_tasks.start_capturing()
    await task()
    [captured] = background_tasks.captured_tasks
    assert captured.arguments == arguments
    background_tasks.reset()


async def test_starlette_task_awaited_after_stop_capturing_runs_at_once(
    background_tasks: BackgroundTasks,
) -> None:
    """The task runs immediately, because it is awaited."""
    calls: list[int] = []
    background_tasks.start_capturing()
    call = BackgroundTask(calls.append, 1)()
    background_tasks.stop_capturing()
    await call
    assert calls == [1]
    assert background_tasks.task_count == 0
