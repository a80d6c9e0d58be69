"""The orders of test_found.py by hand, on asyncio's own loop, without the plugin and pytest: `python plain.py`."""

import asyncio
from types import SimpleNamespace

import asyncstdlib
import httpcore
import uvicorn
from aiohttp import ClientTimeout
from aiohttp.client_reqrep import ConnectionKey
from async_lru import alru_cache
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import greenlet_spawn
from test_found import Backend, Connector, Database
from together import Together
from websockets.asyncio.client import connect


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


async def uvicorn_serve(application, **options):  # on real sockets
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_config=None, **options))
    serving = asyncio.create_task(server.serve())
    await asyncio.sleep(0.5)
    return server, serving, server.servers[0].sockets[0].getsockname()[1]


async def uvicorn_stop():
    events = []

    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            for state in ("startup", "shutdown"):
                events.append((await receive())["type"])
                await send({"type": f"lifespan.{state}.complete"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(64):
            await send({"type": "websocket.send", "bytes": bytes(2**20)})

    server, serving, port = await uvicorn_serve(application)
    client = await connect(f"ws://127.0.0.1:{port}", compression=None)
    await asyncio.sleep(0.5)  # the client does not read, and the buffers fill up
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0.5)  # its close frame has arrived; the server cannot send the rest
    server.should_exit = True
    await asyncio.wait([serving], timeout=2)
    print(f"uvicorn: the server ends with {serving.exception()!r}; the application has got {events}")
    client.transport.abort()
    await closing


HANDSHAKE = b"""GET / HTTP/1.1\r
Host: host\r
Upgrade: websocket\r
Connection: Upgrade\r
Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r
Sec-WebSocket-Version: 13\r
\r
"""


async def uvicorn_close_code():
    events = []

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        events.append(await receive())

    server, serving, port = await uvicorn_serve(application, ws="websockets", lifespan="off")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x88\x82\0\0\0\0\x03\xe8")  # the close frame, with the code 1000
    answer = await reader.readexactly(4)
    server.should_exit = True
    await serving
    print(f"uvicorn: the client has closed with 1000, the server answered {answer}; the application has got {events}")
    writer.close()


for order in (aiohttp, async_lru, sqlalchemy, httpcore_pool, asyncstdlib_tee, uvicorn_stop, uvicorn_close_code):
    asyncio.run(order())
