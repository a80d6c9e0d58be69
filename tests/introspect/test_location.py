"""Where a task waits is found through all that can stand between it and the future that it waits for."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import pytest

from pytest_background_tasks import BackgroundTasks, DeadlockError, Explorer
from pytest_background_tasks._introspect.location import behind, waiting_locations
from pytest_background_tasks._introspect.suspension import task_label

IS_PROJECT_FILE = defaultdict(bool, {__file__: True})


async def wait() -> None:
    await asyncio.Event().wait()


class OnExit:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None:
        await wait()


@asynccontextmanager
async def with_finally() -> AsyncIterator[None]:
    try:
        yield
    finally:
        await wait()


async def generate() -> AsyncIterator[int]:
    await wait()
    yield 1


async def generate_and_clean_up() -> AsyncIterator[int]:
    try:
        yield 1
    finally:
        await wait()


async def delegate() -> AsyncIterator[int]:
    async for each in generate():
        yield each


def decorated(function: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    @wraps(function)
    async def wrapper() -> None:
        await function()

    return wrapper


class CustomAwaitable:
    def __await__(self) -> Generator[Any, None, None]:
        return wait().__await__()


async def in_aexit() -> None:
    async with OnExit():
        pass


async def in_finally() -> None:
    async with with_finally():
        pass


async def in_for() -> None:
    async for _ in generate():
        pass


async def in_for_through_another() -> None:
    async for _ in delegate():
        pass


async def in_comprehension() -> None:
    [each async for each in generate()]


async def in_anext() -> None:
    await anext(generate())


async def in_anext_with_default() -> None:
    await anext(generate(), None)


async def in_aclose() -> None:
    generator: Any = generate_and_clean_up()
    await anext(generator)
    await generator.aclose()


async def in_athrow() -> None:
    generator: Any = generate_and_clean_up()
    await anext(generator)
    await generator.athrow(KeyError)


async def in_decorator() -> None:
    await decorated(wait)()


async def in_custom_awaitable() -> None:
    await CustomAwaitable()


async def suspended_path(awaitable: Any) -> tuple[list[str], asyncio.Task[Any]]:
    """The functions in which a task for `awaitable` waits, and the task, cancelled."""
    task = asyncio.get_running_loop().create_task(awaitable)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    sites = waiting_locations(task.get_coro(), IS_PROJECT_FILE)
    task.cancel()
    await asyncio.wait([task])
    return [site.function.rpartition(".<locals>.")[2] for site in sites if not site.function.endswith("comp>")], task


@pytest.mark.parametrize(
    ("function", "path"),
    [
        (in_aexit, ["in_aexit", "OnExit.__aexit__", "wait"]),
        (in_finally, ["in_finally", "with_finally", "wait"]),
        (in_for, ["in_for", "generate", "wait"]),
        (in_for_through_another, ["in_for_through_another", "delegate", "generate", "wait"]),
        (in_comprehension, ["in_comprehension", "generate", "wait"]),
        (in_anext, ["in_anext", "generate", "wait"]),
        (in_anext_with_default, ["in_anext_with_default", "generate", "wait"]),
        (in_aclose, ["in_aclose", "generate_and_clean_up", "wait"]),
        (in_athrow, ["in_athrow", "generate_and_clean_up", "wait"]),
        (in_decorator, ["in_decorator", "wrapper", "wait"]),
        (in_custom_awaitable, ["in_custom_awaitable", "wait"]),
    ],
)
async def test_the_path_leads_to_the_innermost_line(function: Callable[[], Any], path: list[str]) -> None:
    assert (await suspended_path(function()))[0] == path


NEXT: dict[str, Callable[[], Any]] = {
    "anext": lambda: anext(generate()),
    "anext with a default": lambda: anext(generate(), None),
    "__anext__": lambda: generate().__anext__(),
    "asend": lambda: generate().asend(None),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("make", NEXT.values(), ids=list(NEXT))
async def test_a_task_for_the_next_item_waits_in_the_generator(make: Callable[[], Any]) -> None:
    path, task = await suspended_path(make())
    assert path == ["generate", "wait"]
    assert task_label(task).endswith("(generate)")


@pytest.mark.parametrize("make", NEXT.values(), ids=list(NEXT))
def test_a_deadlock_names_the_generator_and_its_line(make: Callable[[], Any]) -> None:
    async def scenario() -> None:
        await asyncio.create_task(make())

    failure = Explorer().explore(scenario).failure
    assert failure is not None
    assert isinstance(failure.error, DeadlockError)
    assert "\n  generate waits at " in str(failure.error)
    assert f":{wait.__code__.co_firstlineno + 1} in wait, for an event" in str(failure.error)


@pytest.mark.parametrize("make", NEXT.values(), ids=list(NEXT))
async def test_a_captured_task_shows_the_generator(background_tasks: BackgroundTasks, make: Callable[[], Any]) -> None:
    background_tasks.start_capturing()
    asyncio.create_task(make())
    [task] = background_tasks.captured_tasks
    assert (task.function, task.module) == ("generate", __name__)
    await background_tasks.run_until_idle_async()
    assert task.suspended_at is not None
    assert task.suspended_at.function == "wait"
    background_tasks.reset()


async def test_asend_leads_to_its_generator_and_a_coroutine_to_itself() -> None:
    sent = wait()
    generator: Any = generate_and_clean_up()
    sending = generator.asend(None)
    assert behind(sending) is generator
    assert behind(sent) is sent
    sending.close()
    sent.close()
    await generator.aclose()
