"""Stories to draw."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import pytest

from pytest_background_tasks import Explorer
from pytest_background_tasks._report.model import FailureView, failure_view

Scenario: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Explored: TypeAlias = Callable[..., FailureView]


@pytest.fixture(scope="session")
def explored() -> Explored:
    """The story of how a scenario fails; explored in a thread, for Playwright has a loop in this one."""

    def explored(scenario: Scenario, **options: Any) -> FailureView:
        with ThreadPoolExecutor(1) as thread:
            failure = thread.submit(Explorer(**options).explore, scenario).result().failure
        assert failure is not None
        return failure_view(failure)

    return explored


async def look_up() -> None:
    await asyncio.sleep(0)


async def lost_update() -> None:
    """Two add one, the second one turn later; if the first is late, one is lost. A third waits for a lock."""
    total, lock = 0, asyncio.Lock()

    async def add(turns: int) -> None:
        nonlocal total
        for _ in range(turns):
            await look_up()
        before = total
        await look_up()
        total = before + 1

    async def hold(seconds: float) -> None:
        async with lock:
            await asyncio.sleep(seconds)

    async with asyncio.TaskGroup() as group:
        for turns in range(2):
            group.create_task(add(turns))
        for _ in range(2):
            group.create_task(hold(1.5))
    assert total == 2


async def order_of_answers() -> None:
    """Two clients ask a server, which answers each in two parts; the first one expects to be answered first."""
    answered = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.readline()
        writer.write(b"answer to ")
        await asyncio.sleep(0)
        writer.write(question)
        writer.close()

    async def ask(question: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", 80)
        writer.write(question)
        await reader.readline()
        answered.append(question)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 80):
        await asyncio.gather(ask(b"1\n"), ask(b"2\n"))
    assert answered == [b"1\n", b"2\n"]


@pytest.fixture(scope="session")
def late_answer(explored: Explored) -> FailureView:
    """The first answer is late, so that its second part arrives together with the first one."""
    return explored(order_of_answers, replay="ask:received@1+2")


@pytest.fixture(scope="session")
def lost(explored: Explored) -> FailureView:
    """An update that is lost when one answer is late."""
    return explored(lost_update, arrivals=["yield", "sleep"])
