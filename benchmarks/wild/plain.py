"""The orders of test_found.py by hand, on asyncio's own loop, without the plugin and pytest: `python plain.py`."""

import asyncio
from types import SimpleNamespace

import asyncstdlib
import httpcore
from aiohttp import ClientTimeout
from aiohttp.client_reqrep import ConnectionKey
from async_lru import alru_cache
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import greenlet_spawn
from test_found import Backend, Connector, Database
from together import Together


async def aiohttp():
    connector = Connector(limit=1)
    key = ConnectionKey("host", 80, False, True, None, None, None)
    request = SimpleNamespace(connection_key=key, proxy=None, is_ssl=lambda: False)

    async def client():
        (await connector.connect(request, [], ClientTimeout())).release()

    connection = await connector.connect(request, [], ClientTimeout())
    b, c = asyncio.create_task(client()), asyncio.create_task(client())
    await asyncio.sleep(0.1)
    connection.release()  # wakes b
    b.cancel()
    _, pending = await asyncio.wait([b, c], timeout=2)
    print(f"aiohttp: after 2 s {len(pending)} client waits, {len(connector._acquired)} of 1 connections are in use")
    await client()
    _, pending = await asyncio.wait([b, c], timeout=2)
    print(f"aiohttp: after the next request, {len(pending)} clients wait")
    await connector.close()


async def async_lru():
    loads = Together()

    @alru_cache
    async def load(key):
        with loads:
            await asyncio.sleep(0.1)

    a = asyncio.create_task(load("key"))
    await asyncio.sleep(0.01)
    a.cancel()
    await asyncio.sleep(0)  # a is cancelled and has cancelled its load, which has not yet ended
    b = asyncio.create_task(load("key"))
    await asyncio.sleep(0.01)
    c = asyncio.create_task(load("key"))
    await asyncio.gather(a, b, c, return_exceptions=True)
    print(f"async-lru: {loads.most} loads of one key at once")


async def sqlalchemy():
    pool = AsyncAdaptedQueuePool(Database().connect, pool_size=1, max_overflow=0, timeout=2)

    async def client():
        await greenlet_spawn((await greenlet_spawn(pool.connect)).close)

    a, b, c = (asyncio.create_task(client()) for _ in range(3))
    await asyncio.sleep(0.001)
    a.cancel()  # while it connects
    await asyncio.wait([a, b, c], timeout=1)
    waiting = [b.done(), c.done()].count(False)
    print(f"SQLAlchemy: after 1 s {waiting} clients wait, {pool.checkedout()} of 1 connections are in use")
    await asyncio.wait([b, c])
    print(f"SQLAlchemy: after the 2 s of timeout=, b: {b.exception()!r}, c: {c.exception()!r}")


async def httpcore_pool():
    class Cancelling(Backend):
        async def connect_tcp(self, *args, **kwargs):
            stream = await super().connect_tcp(*args, **kwargs)
            asyncio.get_running_loop().call_soon(a.cancel)  # as it resumes: connected, nothing sent yet
            return stream

    async with httpcore.AsyncConnectionPool(max_connections=1, network_backend=Cancelling()) as pool:
        a = asyncio.create_task(pool.request("GET", "http://host/"))
        await asyncio.wait([a])
        print(f"httpcore: {pool}, but no client is left")


async def asyncstdlib_tee():
    async def source():
        for number in range(3):
            await asyncio.sleep(0.01)
            yield number

    async def read(reader):
        return [number async for number in reader]

    one, other = asyncstdlib.tee(source(), lock=asyncio.Lock())
    a, b = asyncio.create_task(read(one)), asyncio.create_task(read(other))
    await asyncio.sleep(0.005)
    a.cancel()
    await asyncio.wait([a, b])
    print(f"asyncstdlib: the other reader has read {b.result()} of [0, 1, 2], without an error")


for order in (aiohttp, async_lru, sqlalchemy, httpcore_pool, asyncstdlib_tee):
    asyncio.run(order())
