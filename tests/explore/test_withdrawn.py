"""Steps that another step withdraws when they are about to run: the other order is explored too."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pytest_background_tasks import Explorer


async def timer_cancels_timer() -> None:
    loop, fired = asyncio.get_running_loop(), list[int]()
    when = loop.time() + 0.01
    loop.call_at(when, lambda: second.cancel())
    second = loop.call_at(when, fired.append, 1)
    await asyncio.sleep(1)
    assert not fired


async def task_cancels_timer() -> None:
    loop, fired = asyncio.get_running_loop(), list[int]()

    async def stop() -> None:
        timer.cancel()

    task = asyncio.create_task(stop())
    timer = loop.call_at(loop.time(), fired.append, 1)
    await task
    await asyncio.sleep(1)
    assert not fired


async def task_cancels_call() -> None:
    loop, called = asyncio.get_running_loop(), list[int]()

    async def stop() -> None:
        await asyncio.sleep(0)
        call.cancel()

    async def ask() -> None:
        nonlocal call
        await asyncio.sleep(0)
        call = loop.call_soon(called.append, 1)

    call: Any = None
    await asyncio.gather(ask(), stop())
    await asyncio.sleep(1)
    assert not called


class _Server(asyncio.Protocol):
    def __init__(self, servers: list["_Server"]) -> None:
        self.got: list[bytes] = []
        servers.append(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got.append(data)


async def task_closes_connection() -> None:
    servers: list[_Server] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Server(servers), "127.0.0.1", 80)
    transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", 80)
    await asyncio.sleep(0.1)

    async def close() -> None:
        servers[0].transport.close()

    try:
        transport.write(b"1")
        await asyncio.create_task(close())
        await asyncio.sleep(1)
        assert not servers[0].got
    finally:
        transport.close()
        server.close()


async def task_stops_reading_a_pipe() -> None:
    loop, got = asyncio.get_running_loop(), list[bytes]()
    reading, writing = os.pipe()
    try:
        loop.add_reader(reading, lambda: got.append(os.read(reading, 1)))

        async def stop() -> None:
            loop.remove_reader(reading)

        os.write(writing, b"1")
        await asyncio.create_task(stop())
        await asyncio.sleep(1)
        assert not got
    finally:
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize(
    "scenario",
    [timer_cancels_timer, task_cancels_timer, task_cancels_call, task_closes_connection, task_stops_reading_a_pipe],
)
def test_a_step_also_comes_behind_the_one_that_it_withdraws(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A search is no proof if it never tries the order in which there is nothing left to withdraw."""
    exploration = Explorer(max_deviations=1).explore(scenario)
    assert exploration.failure is not None, exploration
    assert exploration.failure.schedule
