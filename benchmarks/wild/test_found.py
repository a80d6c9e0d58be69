"""Invariants that a maintainer would state, each of which one order breaks; README.md describes where and why.

A fake replaces the connection, which takes 0.01 s to open. Everything else is the installed library. uvicorn and its
client need no fake: they talk in the network in the process.
"""

import asyncio
from types import SimpleNamespace

import asyncstdlib
import httpcore
import uvicorn
from aiohttp import BaseConnector, ClientTimeout
from aiohttp.client_reqrep import ConnectionKey
from async_lru import alru_cache
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only, greenlet_spawn
from together import Together
from websockets.asyncio.client import connect

from pytest_background_tasks import explore


async def clients(client, names):
    """Start a client for each letter, and wait until all have finished or failed."""
    tasks = [asyncio.create_task(client(), name=name) for name in names]
    return await asyncio.gather(*tasks, return_exceptions=True)


# aiohttp: a released connection goes to a waiting client.


class Connection:
    should_close, closed, transport = False, None, None

    def is_connected(self):
        return True

    def close(self):
        pass

    abort = close


class Connector(BaseConnector):
    async def _create_connection(self, req, traces, timeout):
        await asyncio.sleep(0.01)
        return Connection()


@explore(faults="cancel:b")
async def test_aiohttp_nobody_waits_while_the_only_connection_is_free():
    connector = Connector(limit=1)
    key = ConnectionKey("host", 80, False, True, None, None, None)
    request = SimpleNamespace(connection_key=key, proxy=None, is_ssl=lambda: False)

    async def client():
        connection = await connector.connect(request, [], ClientTimeout())
        try:
            await asyncio.sleep(0.01)
        finally:
            connection.release()

    async with asyncio.timeout(300):
        await clients(client, "abc")
    await connector.close()


# async-lru: a key is loaded once at a time.


@explore(faults="cancel:a")
async def test_async_lru_a_key_is_loaded_once_at_a_time():
    loads = Together()

    @alru_cache
    async def load(key):
        with loads:
            await asyncio.sleep(0.1)

    async def client(delay):
        await asyncio.sleep(delay)
        await load("key")

    tasks = [asyncio.create_task(client(delay), name=name) for name, delay in zip("abc", (0, 0.09, 0.1), strict=True)]
    await asyncio.gather(*tasks, return_exceptions=True)
    assert loads.most == 1


# SQLAlchemy: no client waits for a connection that is free.


class Database:
    def connect(self):
        await_only(asyncio.sleep(0.01))
        return SimpleNamespace(rollback=lambda: None, close=lambda: None)


@explore(faults="cancel:a")
async def test_sqlalchemy_nobody_waits_while_nobody_has_a_connection():
    pool = AsyncAdaptedQueuePool(Database().connect, pool_size=1, max_overflow=0, timeout=30)

    async def client():
        connection = await greenlet_spawn(pool.connect)
        try:
            await asyncio.sleep(0.01)
        finally:
            await greenlet_spawn(connection.close)

    outcomes = await clients(client, "abc")
    assert not [each for each in outcomes if isinstance(each, Exception)]


# httpcore: a pool has a free connection again after a request was cancelled.

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Stream(httpcore.AsyncNetworkStream):
    async def read(self, max_bytes, timeout=None):
        await asyncio.sleep(0.01)
        return ANSWER

    async def write(self, buffer, timeout=None):
        await asyncio.sleep(0)

    async def aclose(self):
        pass

    def get_extra_info(self, info):
        return None


class Backend(httpcore.AsyncNetworkBackend):
    async def connect_tcp(self, *args, **kwargs):
        await asyncio.sleep(0.01)
        return Stream()


@explore(faults="cancel:a")
async def test_httpcore_a_pool_has_room_again():
    async with httpcore.AsyncConnectionPool(max_connections=1, network_backend=Backend()) as pool:

        async def client():
            await pool.request("GET", "http://host/", extensions={"timeout": {"pool": 5}})

        outcomes = await clients(client, "ab")
        assert not [each for each in outcomes if isinstance(each, Exception)]


# asyncstdlib: a reader that reaches the end has read everything, even if another reader is cancelled.


@explore(faults="cancel:a")
async def test_asyncstdlib_who_reads_to_the_end_has_read_all():
    async def source():
        for number in range(3):
            await asyncio.sleep(0.01)
            yield number

    readers = iter(asyncstdlib.tee(source(), lock=asyncio.Lock()))

    async def client():
        reader = next(readers)
        return [number async for number in reader]

    for outcome in await clients(client, "ab"):
        assert outcome == [0, 1, 2] or isinstance(outcome, BaseException)


# uvicorn: a server that is asked to stop ends without an error, whatever its clients are doing.


async def much(scope, receive, send):
    """Send to a WebSocket more than fits into the network."""
    await receive()
    await send({"type": "websocket.accept"})
    for _ in range(8):
        await send({"type": "websocket.send", "bytes": bytes(2**20)})


@explore
async def test_uvicorn_a_server_stops_without_an_error():
    server = uvicorn.Server(uvicorn.Config(much, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve(), name="server")
    await asyncio.sleep(0.1)
    async with connect("ws://127.0.0.1:8000", max_queue=1, compression=None):  # one message, and it stops reading
        server.should_exit = True
        await asyncio.sleep(0.1)
    await serving


# uvicorn: an application gets the close code of its client.


@explore
async def test_uvicorn_an_application_gets_the_close_code_of_its_client():
    codes = []

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        codes.append((await receive())["code"])

    server = uvicorn.Server(uvicorn.Config(application, ws="websockets", lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    await asyncio.sleep(0.05)
    async with connect("ws://127.0.0.1:8000"):
        pass
    await server.shutdown()
    serving.cancel()
    assert codes == [1000]


# asyncio itself: a notification reaches a waiter.


@explore(faults="cancel:a")
async def test_condition_nobody_waits_while_there_is_something():
    condition, things = asyncio.Condition(), []

    async def client():
        async with condition:
            await condition.wait_for(lambda: things)
            things.pop()

    async def producer():
        await asyncio.sleep(0.01)
        async with condition:
            things.append(1)
            condition.notify()

    tasks = [asyncio.create_task(client(), name=name) for name in "ab"]
    await asyncio.gather(producer(), asyncio.wait(tasks, timeout=1))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert not things
