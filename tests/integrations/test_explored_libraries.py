"""Building blocks of real programs run inside a scenario: ASGI apps, streams, anyio."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pytest_background_tasks import Explorer
from pytest_background_tasks._explore.anyio import SetInOrder

RunSchedule = Any  # the fixture


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


def counting_app(repaired: bool) -> FastAPI:
    """Count visits: read, wait for the store, write."""
    app, lock, visits = FastAPI(), asyncio.Lock(), [0]

    async def count() -> int:
        before = visits[0]
        await asyncio.sleep(0)
        visits[0] = before + 1
        return visits[0]

    @app.get("/visit")
    async def visit() -> int:
        if not repaired:
            return await count()
        async with lock:
            return await count()

    @app.get("/visits")
    def visits_so_far() -> int:  # in a thread
        return visits[0]

    return app


async def visits(repaired: bool) -> None:
    async with client_of(counting_app(repaired)) as client:

        async def visit_later() -> None:
            for _ in range(30):  # clicks of another user
                await asyncio.sleep(0)
            await client.get("/visit")

        await asyncio.gather(client.get("/visit"), visit_later())
        assert (await client.get("/visits")).json() == 2


def test_lost_update_in_a_fastapi_app_is_found(run_schedule: RunSchedule) -> None:
    """Two requests over httpx.ASGITransport; the `def` endpoint runs in the helper thread."""
    assert run_schedule(lambda: visits(False)).error is None
    exploration = Explorer().explore(lambda: visits(False))
    assert exploration.failure is not None
    assert isinstance(exploration.failure.error, AssertionError)
    assert len(exploration.failure.schedule) == 1
    assert Explorer(max_schedules=100).explore(lambda: visits(True)).failure is None


def test_starlette_app_and_fastapi_background_tasks_are_explored(run_schedule: RunSchedule) -> None:
    done = []

    async def hello(request: Request) -> JSONResponse:
        await asyncio.sleep(0)
        return JSONResponse({"name": request.path_params["name"]})

    app = FastAPI()

    @app.get("/work")
    async def work(background: BackgroundTasks) -> str:
        background.add_task(done.append, "in a thread")
        return "ok"

    async def scenario() -> None:
        done.clear()
        async with client_of(Starlette(routes=[Route("/{name}", hello)])) as client:
            first, second = await asyncio.gather(client.get("/ann"), client.get("/bob"))
            assert (first.json(), second.json()) == ({"name": "ann"}, {"name": "bob"})
        async with client_of(app) as client:
            assert (await client.get("/work")).json() == "ok"
        assert done == ["in a thread"]

    assert Explorer(max_deviations=1).explore(scenario).verdict == "bounded"


class Pipe(asyncio.Transport):
    """A transport in memory: data written to one end comes out at the other."""

    def __init__(self, other_end: asyncio.StreamReader) -> None:
        super().__init__()
        self.other_end = other_end
        self.is_closed = False

    def write(self, data: Any) -> None:
        asyncio.get_running_loop().call_soon(self.other_end.feed_data, bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def streams() -> tuple[
    tuple[asyncio.StreamReader, asyncio.StreamWriter], tuple[asyncio.StreamReader, asyncio.StreamWriter]
]:
    loop = asyncio.get_running_loop()
    here, there = asyncio.StreamReader(), asyncio.StreamReader()
    writers = [
        asyncio.StreamWriter(Pipe(other), asyncio.StreamReaderProtocol(reader), reader, loop)
        for reader, other in ((here, there), (there, here))
    ]
    return (here, writers[0]), (there, writers[1])


async def echo_over_streams() -> None:
    (reader, writer), (server_reader, server_writer) = streams()

    async def serve() -> None:
        while line := await server_reader.readline():
            await asyncio.sleep(0)
            server_writer.write(line.upper())
            await server_writer.drain()

    async def ask() -> None:
        for word in (b"one\n", b"two\n"):
            writer.write(word)
            await writer.drain()
            assert await asyncio.wait_for(reader.readline(), 1) == word.upper()

    server = asyncio.create_task(serve())
    await ask()
    server.cancel()
    writer.close()
    server_writer.close()


def test_streams_over_in_memory_transports() -> None:
    assert Explorer().explore(echo_over_streams).verdict in ("bounded", "exhaustive")


async def anyio_program() -> None:
    send, receive = anyio.create_memory_object_stream[int](1)
    results = []

    async def square(number: int) -> None:
        results.append(await anyio.to_thread.run_sync(pow, number, 2))

    async def work(numbers: Any) -> None:
        async with numbers:
            async for number in numbers:
                await square(number)

    async with anyio.create_task_group() as group:
        group.start_soon(work, receive.clone())
        group.start_soon(work, receive)
        async with send:
            for number in range(3):
                await send.send(number)
        with anyio.move_on_after(0.5):
            await anyio.sleep(1)
    assert sorted(results) == [0, 1, 4]


def test_anyio_program() -> None:
    assert Explorer(max_deviations=1).explore(anyio_program).verdict == "bounded"


def test_anyio_limiter_works_on_a_controlled_loop(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        limiter = anyio.CapacityLimiter(1)
        async with limiter:
            task = asyncio.create_task(anyio.to_thread.run_sync(len, "", limiter=limiter))
            await asyncio.sleep(1)
            assert not task.done()
        assert await task == 0

    assert run_schedule(scenario).error is None


def test_anyio_cancels_nested_scopes_in_order_of_entry() -> None:
    """anyio keeps scopes in a set, by address: a scenario with nested task groups would not be deterministic."""
    everything: list[object] = []  # prevents reuse of addresses

    async def scenario() -> None:
        cancelled: list[int] = []

        async def nested(number: int) -> None:
            everything.append(bytearray(number * 61))
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(anyio.sleep_forever)
            finally:
                cancelled.append(number)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(nested, number)
            await anyio.sleep(0.1)
            group.cancel_scope.cancel()
        assert cancelled == list(range(20))

    assert Explorer(max_schedules=20, arrivals="sleep").explore(scenario).failure is None


def test_closed_anyio_stream_wakes_receivers_in_order() -> None:
    async def scenario() -> None:
        woken: list[int] = []

        async def receiver(number: int) -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await stream.receive()
            woken.append(number)

        _, stream = anyio.create_memory_object_stream[int]()
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(receiver, number)
            await anyio.sleep(0.1)
            stream.close()
        _.close()
        assert woken == list(range(20))

    assert Explorer(max_schedules=20, arrivals="sleep").explore(scenario).failure is None


def test_ordered_set_behaves_like_a_set() -> None:
    items = SetInOrder([3, 1])
    items.add(2)
    copy = items.copy()
    items.discard(1)
    items.discard(4)
    assert (list(items), list(copy), 2 in items, 1 in items, len(items)) == ([3, 2], [3, 1, 2], True, False, 2)
    with pytest.raises(KeyError):
        items.remove(1)
    with pytest.raises(RuntimeError, match="changed size during iteration"):
        for item in items:
            items.add(item + 10)


def test_anyio_threads_are_unchanged_outside_an_exploration() -> None:
    from pytest_background_tasks._explore.determinism import DeterministicProcess

    async def main() -> int:
        return await anyio.to_thread.run_sync(anyio.from_thread.run_sync, len, "abc")

    with DeterministicProcess(may_raise=True):
        assert asyncio.run(main()) == 3


def test_call_from_an_anyio_thread_into_the_loop_is_refused(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        await anyio.to_thread.run_sync(anyio.from_thread.run_sync, len, "abc")

    assert "AnyIO worker thread" in str(run_schedule(scenario).error)


@pytest.mark.parametrize("repaired", [False, True])
def test_a_server_and_its_clients_are_explored(repaired: bool) -> None:
    """uvicorn and httpx talk in memory; only the moments at which requests and answers arrive are varied."""
    import uvicorn

    async def scenario() -> None:
        server = uvicorn.Server(uvicorn.Config(counting_app(repaired), port=8000, log_level="critical", lifespan="off"))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.1)
        async with httpx.AsyncClient(base_url="http://127.0.0.1:8000") as client:
            await asyncio.gather(client.get("/visit"), client.get("/visit"))
            visits = (await client.get("/visits")).json()
        server.should_exit = True
        await serving
        assert visits == 2

    verdict = Explorer(arrivals="network", max_deviations=1, max_schedules=40).explore(scenario).verdict
    assert verdict == ("incomplete" if repaired else "failed")
