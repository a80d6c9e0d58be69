"""Programs of real network libraries: each runs its own servers and clients in the one event loop, and ends them.

Each is correct in every order in which a network may deliver: what it returns is what its decorator says, always. When
it has returned, no task, transport or socket of it is left. What a program needs is imported in it, so that a test
loads one stack only.
"""

import asyncio
import contextlib
import socket
import ssl
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any

Program = Callable[[], Coroutine[Any, Any, Any]]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PROGRAMS: dict[Program, Any] = {}
"""What each program returns."""

NAMES = ["ann", "bob", "cid"]
SHOUTED = ["ANN", "BOB", "CID"]
MEGABYTE = 2**20


def returns(value: Any) -> Callable[[Program], Program]:
    def enter(program: Program) -> Program:
        PROGRAMS[program] = value
        return program

    return enter


# aiohttp


@contextlib.asynccontextmanager
async def aiohttp_server(*routes: Any, **options: Any) -> AsyncIterator[str]:
    """Serve these routes; the value is the URL."""
    from aiohttp import web

    app = web.Application(**options)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@returns((SHOUTED, 1))
async def aiohttp_keep_alive() -> tuple[list[str], int]:
    """Requests one after the other are answered in turn, on one connection."""
    import aiohttp
    from aiohttp import web

    peers = set()

    async def shout(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(text=request.match_info["name"].upper())

    async with aiohttp_server(web.get("/{name}", shout)) as url, aiohttp.ClientSession() as session:
        answers = []
        for name in NAMES:
            async with session.get(f"{url}/{name}") as response:
                answers.append(await response.text())
    return answers, len(peers)


@returns((SHOUTED * 2, True))
async def aiohttp_connection_pool() -> tuple[list[str], bool]:
    """Requests at the same time are all answered, and each gets its own answer, on two connections at most."""
    import aiohttp
    from aiohttp import web

    peers = set()

    async def shout(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        await asyncio.sleep(0)
        return web.Response(text=request.match_info["name"].upper())

    async with (
        aiohttp_server(web.get("/{name}", shout)) as url,
        aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=2)) as session,
    ):

        async def ask(name: str) -> str:
            async with session.get(f"/{name}") as response:
                return await response.text()

        answers = await asyncio.gather(*(ask(name) for name in NAMES * 2))
    return answers, len(peers) <= 2


@returns(["SLOW", "QUICK"])
async def aiohttp_pipelining() -> list[str]:
    """Two requests written at once are answered in their order, although the second needs less time."""
    from aiohttp import web

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.01)
        return web.Response(text="SLOW")

    async def quick(_: web.Request) -> web.Response:
        return web.Response(text="QUICK")

    async with aiohttp_server(web.get("/slow", slow), web.get("/quick", quick)) as url:
        port = int(url.rpartition(":")[2])
        async with connected("127.0.0.1", port) as (reader, writer):
            writer.write(
                b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n"
                b"GET /quick HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
            )
            received = (await reader.read()).decode()  # to the end: the second request asks for it
    return [part.rpartition("\r\n\r\n")[2] for part in received.split("HTTP/1.1 200 OK")[1:]]


@returns(("chunked", "one two three "))
async def aiohttp_chunked_upload() -> tuple[str, str]:
    """A body that the client makes as it goes arrives whole, without a length."""
    import aiohttp
    from aiohttp import web

    async def body() -> AsyncIterator[bytes]:
        for word in (b"one ", b"two ", b"three "):
            yield word
            await asyncio.sleep(0)

    async def receive(request: web.Request) -> web.Response:
        received = b"".join([part async for part in request.content.iter_any()])
        return web.json_response([request.headers["Transfer-Encoding"], received.decode()])

    async with aiohttp_server(web.post("/", receive)) as url, aiohttp.ClientSession() as session:
        async with session.post(url, data=body()) as response:
            encoding, received = await response.json()
    return encoding, received


@returns((200, MEGABYTE, True))
async def aiohttp_large_body() -> tuple[int, int, bool]:
    """A body of a megabyte comes back as it was sent."""
    import aiohttp
    from aiohttp import web

    sent = bytes(range(256)) * (MEGABYTE // 256)

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    server = aiohttp_server(web.post("/", echo), client_max_size=2 * MEGABYTE)
    async with server as url, aiohttp.ClientSession() as session:
        async with session.post(url, data=sent) as response:
            received = await response.read()
            return response.status, len(received), received == sent


@returns((True, [name * 500 for name in SHOUTED]))
async def aiohttp_websocket() -> tuple[bool, list[str]]:
    """Messages that both sides compress come back, and the closing handshake ends the connection."""
    import aiohttp
    from aiohttp import web

    async def shout(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            await websocket.send_str(message.data.upper())
        return websocket

    async with aiohttp_server(web.get("/", shout)) as url, aiohttp.ClientSession() as session:
        async with session.ws_connect(url, compress=15) as websocket:
            answers = []
            for name in NAMES:
                await websocket.send_str(name * 500)
                answers.append(await websocket.receive_str())
            return websocket.compress > 0, answers


@returns([("Ann", 1), ("Bob", 2)])
async def aiohttp_test_client() -> list[tuple[str, int]]:
    """aiohttp's own server and client for tests keep a cookie from one request to the next."""
    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    async def visit(request: web.Request) -> web.Response:
        visits = int(request.cookies.get("visits", "0")) + 1
        response = web.json_response([(await request.json())["name"], visits])
        response.set_cookie("visits", str(visits))
        return response

    app = web.Application()
    app.router.add_post("/", visit)
    answers = []
    async with TestClient(TestServer(app)) as client:
        for name in ("Ann", "Bob"):
            async with client.post("/", json={"name": name}) as response:
                answers.append(tuple(await response.json()))
    return answers


# httpx and FastAPI, on uvicorn and on hypercorn


@contextlib.asynccontextmanager
async def uvicorn_client(app: Any) -> AsyncIterator[Any]:
    """Serve an app; the value is a client of it, which is closed before the server ends."""
    import httpx
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve())
        while not (server.started or serving.done()):
            await asyncio.sleep(0.01)
        try:
            host, port = server.servers[0].sockets[0].getsockname()
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True


@returns((["startup", "shutdown"], SHOUTED))
async def uvicorn_lifespan() -> tuple[list[str], list[str]]:
    """An app starts before the first request, its state reaches each of them, and it shuts down after the last."""
    from fastapi import FastAPI, Request

    log = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        log.append("startup")
        yield {"shout": str.upper}
        log.append("shutdown")

    app = FastAPI(lifespan=lifespan)

    @app.get("/{name}")
    async def shout(name: str, request: Request) -> str:
        assert log == ["startup"]
        return request.state.shout(name)

    async with uvicorn_client(app) as client:
        responses = await asyncio.gather(*(client.get(f"/{name}") for name in NAMES))
    return log, [response.json() for response in responses]


@returns("0 1 2 3 4 ")
async def uvicorn_streaming_response() -> str:
    """A response that the server makes as it goes arrives whole."""
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    async def count() -> AsyncIterator[str]:
        for number in range(5):
            yield f"{number} "
            await asyncio.sleep(0)

    @app.get("/")
    async def numbers() -> StreamingResponse:
        return StreamingResponse(count(), media_type="text/plain")

    async with uvicorn_client(app) as client, client.stream("GET", "/") as response:
        return "".join([part async for part in response.aiter_text()])


@returns([["data: one", "data: two"]] * 2)
async def uvicorn_server_sent_events() -> list[list[str]]:
    """What is published once both listeners are there reaches each of them, in order, while their requests last."""
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()
    subscribers: list[asyncio.Queue[str]] = []

    async def news() -> AsyncIterator[str]:
        subscribers.append(asyncio.Queue())
        queue = subscribers[-1]
        yield "event: hello\n\n"
        while (word := await queue.get()) != "bye":
            yield f"data: {word}\n\n"

    @app.get("/")
    async def listen() -> StreamingResponse:
        return StreamingResponse(news(), media_type="text/event-stream")

    @app.post("/{word}")
    async def publish(word: str) -> None:
        for queue in subscribers:
            queue.put_nowait(word)

    async with uvicorn_client(app) as client:
        all_listen = asyncio.Barrier(3)

        async def events() -> list[str]:
            async with client.stream("GET", "/") as response:
                lines = response.aiter_lines()
                assert await anext(lines) == "event: hello"  # hence subscribed
                await all_listen.wait()
                return [line async for line in lines if line]

        async def editor() -> None:
            await all_listen.wait()
            for word in ("one", "two", "bye"):
                await client.post(f"/{word}")

        first, second, _ = await asyncio.gather(events(), events(), editor())
    return [first, second]


@returns(([202] * 3, NAMES))
async def uvicorn_background_tasks() -> tuple[list[int], list[str]]:
    """What a response leaves to do in the background is done, although the client does not wait for it."""
    from fastapi import BackgroundTasks, FastAPI

    app = FastAPI()
    sent = []
    all_sent = asyncio.Event()

    async def send(name: str) -> None:
        await asyncio.sleep(0.01)
        sent.append(name)
        if len(sent) == len(NAMES):
            all_sent.set()

    @app.post("/{name}", status_code=202)
    async def mail(name: str, background: BackgroundTasks) -> None:
        background.add_task(send, name)

    async with uvicorn_client(app) as client:
        responses = await asyncio.gather(*(client.post(f"/{name}") for name in NAMES))
        await all_sent.wait()
    return [response.status_code for response in responses], sorted(sent)


@contextlib.asynccontextmanager
async def hypercorn_client(app: Any) -> AsyncIterator[Any]:
    """Serve an app; the value is a client of it, which is closed before the server ends."""
    import httpx
    from hypercorn import Config
    from hypercorn.asyncio import serve
    from hypercorn.logging import Logger

    url = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    class Announcing(Logger):
        """Hypercorn tells the port that it was given in its log only."""

        async def info(self, message: str, *args: Any, **kwargs: Any) -> None:
            if message.startswith("Running on "):
                url.set_result(message.split()[2])

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None  # else on stderr
    config.logger_class = Announcing
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(app, config, shutdown_trigger=stop.wait))
        try:
            async with httpx.AsyncClient(base_url=await url, trust_env=False) as client:
                yield client
        finally:
            stop.set()


@returns((["startup", "shutdown"], SHOUTED))
async def hypercorn_lifespan() -> tuple[list[str], list[str]]:
    """An app starts before the first request, and shuts down after the last; requests at the same time are answered."""
    from fastapi import FastAPI

    log = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        log.append("startup")
        yield
        log.append("shutdown")

    app = FastAPI(lifespan=lifespan)

    @app.get("/{name}")
    async def shout(name: str) -> str:
        assert log == ["startup"]
        return name.upper()

    async with hypercorn_client(app) as client:
        responses = await asyncio.gather(*(client.get(f"/{name}") for name in NAMES))
    return log, [response.json() for response in responses]


@returns("ONE TWO THREE ")
async def hypercorn_streaming_both_ways() -> str:
    """A body that the client makes as it goes comes back in a response that the server makes as it goes."""
    from fastapi import FastAPI, Request
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    @app.post("/")
    async def shout(request: Request) -> StreamingResponse:
        words = [part.upper() async for part in request.stream()]

        async def answer() -> AsyncIterator[bytes]:
            for word in words:
                yield word
                await asyncio.sleep(0)

        return StreamingResponse(answer())

    async def body() -> AsyncIterator[bytes]:
        for word in (b"one ", b"two ", b"three "):
            yield word
            await asyncio.sleep(0)

    async with hypercorn_client(app) as client, client.stream("POST", "/", content=body()) as response:
        return "".join([part async for part in response.aiter_text()])


# websockets


@returns([NAMES] * 3)
async def websockets_chat() -> list[list[str]]:
    """What each of three clients says, once all have joined, reaches every one of them exactly once."""
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    room: dict[ServerConnection, None] = {}  # a set would be ordered by address

    async def chat(connection: ServerConnection) -> None:
        room[connection] = None
        await connection.send("welcome")
        async for message in connection:
            broadcast(room, message)
        del room[connection]

    all_joined = asyncio.Barrier(len(NAMES))

    async def talk(port: int, name: str) -> list[str]:
        async with connect(f"ws://127.0.0.1:{port}", proxy=None) as connection:
            assert await connection.recv() == "welcome"
            await all_joined.wait()
            await connection.send(name)
            return sorted([str(await connection.recv()) for _ in NAMES])

    async with serve(chat, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        return await asyncio.gather(*(talk(port, name) for name in NAMES))


# grpclib


@returns((SHOUTED, [b"1", b"3", b"6"]))
async def grpclib_unary_and_streaming() -> tuple[list[str], list[bytes]]:
    """Calls at the same time share one connection and get each its own answer; a stream is answered as it goes."""
    from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod
    from grpclib.const import Cardinality
    from grpclib.const import Handler as Method
    from grpclib.encoding.base import CodecBase
    from grpclib.server import Server

    class Raw(CodecBase):
        __content_subtype__ = "raw"

        def encode(self, message: Any, message_type: Any) -> bytes:
            return message

        def decode(self, data: bytes, message_type: Any) -> Any:
            return data

    class Service:
        async def shout(self, stream: Any) -> None:
            await stream.send_message((await stream.recv_message()).upper())

        async def add(self, stream: Any) -> None:
            total = 0
            async for message in stream:
                total += int(message)
                await stream.send_message(str(total).encode())

        def __mapping__(self) -> dict[str, Method]:
            return {
                "/Service/shout": Method(self.shout, Cardinality.UNARY_UNARY, bytes, bytes),
                "/Service/add": Method(self.add, Cardinality.STREAM_STREAM, bytes, bytes),
            }

    class Patient(Server):
        """It can wait until its one connection is lost, which `asyncio.Server.wait_closed` does since Python 3.12."""

        def _protocol_factory(self) -> Any:
            protocol = super()._protocol_factory()
            protocol.connection_lost = lambda error: (type(protocol).connection_lost(protocol, error), lost.set())
            return protocol

    lost = asyncio.Event()
    server = Patient([Service()], codec=Raw())
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    await server.start(sock=listener)
    async with server, Channel(*listener.getsockname(), codec=Raw()) as channel:
        shout = UnaryUnaryMethod(channel, "/Service/shout", bytes, bytes)
        shouted = await asyncio.gather(*(shout(name.encode()) for name in NAMES))
        totals = []
        async with StreamStreamMethod(channel, "/Service/add", bytes, bytes).open() as stream:
            for number in (1, 2, 3):
                await stream.send_message(str(number).encode(), end=number == 3)
                totals.append(await stream.recv_message())
    await lost.wait()
    return [answer.decode() for answer in shouted], totals


# aiosmtpd


@returns([(name, ["all@test"], f"I am {name}\r\n") for name in NAMES])
async def aiosmtpd_mail() -> list[tuple[str, list[str], str]]:
    """Each of three clients that talk to a mail server at the same time delivers its own mail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # typing.ByteString, since Python 3.15
        from aiosmtpd.smtp import SMTP

    delivered = []
    sessions = set()

    class Mailbox:
        async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:  # noqa: N802
            sessions.add(asyncio.current_task())
            delivered.append((envelope.mail_from, envelope.rcpt_tos, envelope.content.decode()))
            return "250 thanks"

    loop = asyncio.get_running_loop()
    # Else it asks for the name of this machine.
    server = await loop.create_server(lambda: SMTP(Mailbox(), hostname="test", loop=loop), "127.0.0.1", 0)

    async def mail(name: str) -> None:
        async with connected(*server.sockets[0].getsockname()) as (reader, writer):

            async def expect(code: bytes) -> None:
                while (line := await reader.readline())[3:4] == b"-":
                    assert line.startswith(code)
                assert line.startswith(code)

            await expect(b"220")
            for command, code in (
                ("EHLO client", b"250"),
                (f"MAIL FROM:<{name}>", b"250"),
                ("RCPT TO:<all@test>", b"250"),
                ("DATA", b"354"),
                (f"I am {name}\r\n.", b"250"),
                ("QUIT", b"221"),
            ):
                writer.write(f"{command}\r\n".encode())
                await expect(code)
            assert await reader.read() == b""  # the server closes

    async with server:
        await asyncio.gather(*(mail(name) for name in NAMES))
    await asyncio.wait(sessions)
    return sorted(delivered)


# anyio


async def anyio_shouts(listener: Any, connect: Callable[[], Awaitable[Any]]) -> list[str]:
    """Three clients at the same time get back what they say, louder."""
    import anyio

    answers = []
    served = anyio.Semaphore(0)

    async def shout(stream: Any) -> None:
        async with stream:
            async for data in stream:
                await stream.send(data.upper())
        served.release()

    async def ask(name: str) -> None:
        async with await connect() as stream:
            await stream.send(name.encode())
            answer = b""
            while len(answer) < len(name):
                answer += await stream.receive()
        answers.append(answer.decode())

    async with listener, anyio.create_task_group() as server:
        server.start_soon(listener.serve, shout)
        async with anyio.create_task_group() as clients:
            for name in NAMES:
                clients.start_soon(ask, name)
        for _ in NAMES:
            await served.acquire()
        server.cancel_scope.cancel()
    return sorted(answers)


@returns(SHOUTED)
async def anyio_tcp() -> list[str]:
    """Clients of an anyio server are answered, over TCP."""
    import anyio
    from anyio.abc import SocketAttribute

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    return await anyio_shouts(listener, lambda: anyio.connect_tcp("127.0.0.1", port))


@returns(SHOUTED)
async def anyio_tls() -> list[str]:
    """Clients of an anyio server are answered, over TLS, and both ends say goodbye as its standard demands."""
    import anyio
    from anyio.abc import SocketAttribute
    from anyio.streams.tls import TLSListener

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    return await anyio_shouts(
        TLSListener(listener, server_context()),
        lambda: anyio.connect_tcp("127.0.0.1", port, ssl_context=client_context()),
    )


@returns(SHOUTED)
async def anyio_unix() -> list[str]:
    """Clients of an anyio server are answered, over a UNIX socket."""
    import anyio

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        return await anyio_shouts(await anyio.create_unix_listener(path), lambda: anyio.connect_unix(path))


# asyncio's streams and datagrams


@contextlib.asynccontextmanager
async def serving(
    handle: Handler, start: Callable[..., Any] = asyncio.start_server, **where: Any
) -> AsyncIterator[Any]:
    """Serve streams, and close each of them; the value is the address. All have ended when this ends.

    `asyncio.Server.wait_closed` waits for them since Python 3.12 only, and not for their tasks.
    """
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        async with closing(writer):
            await handle(reader, writer)

    async with await start(serve, **where) as server:
        yield server.sockets[0].getsockname()
    await asyncio.gather(*connections)


@contextlib.asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(
    *where: Any, connect: Callable[..., Any] = asyncio.open_connection, **options: Any
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await connect(*where, **options)
    async with closing(writer):
        yield reader, writer


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()


async def ask(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(f"{name}\n".encode())
    await writer.drain()
    return (await reader.readline()).decode().strip()


@cache
def authority() -> Any:
    """A certificate authority of our own; once in a process, for it makes keys."""
    import trustme

    return trustme.CA()


@cache
def server_context(is_mutual: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("127.0.0.1", "localhost").configure_cert(context)
    if is_mutual:
        authority().configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@cache
def client_context(has_certificate: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    if has_certificate:
        authority().issue_cert("ann@test").configure_cert(context)
    return context


@returns(SHOUTED)
async def asyncio_streams() -> list[str]:
    """Clients at the same time get each its own answer, over TCP."""

    async def talk(name: str) -> str:
        async with connected(*address) as streams:
            return await ask(name, *streams)

    async with serving(shout, host="127.0.0.1") as address:
        return await asyncio.gather(*(talk(name) for name in NAMES))


@returns(("".join(SHOUTED), b""))
async def asyncio_half_closed_streams() -> tuple[str, bytes]:
    """A client that has said its last word still gets the whole answer."""

    async def answer_in_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = await reader.read()
        writer.write(words.upper())
        await writer.drain()

    async with serving(answer_in_the_end, host="127.0.0.1") as address, connected(*address) as (reader, writer):
        for name in NAMES:
            writer.write(name.encode())
            await writer.drain()
        writer.write_eof()
        return (await reader.read()).decode(), await reader.read()


@returns(SHOUTED)
async def asyncio_unix_streams() -> list[str]:
    """Clients at the same time get each its own answer, over a UNIX socket."""

    async def talk(name: str) -> str:
        async with connected(address, connect=asyncio.open_unix_connection) as streams:
            return await ask(name, *streams)

    with tempfile.TemporaryDirectory() as folder:
        async with serving(shout, asyncio.start_unix_server, path=Path(folder, "socket")) as address:
            return await asyncio.gather(*(talk(name) for name in NAMES))


@returns(SHOUTED)
async def asyncio_tls_streams() -> list[str]:
    """Clients at the same time get each its own answer, over TLS."""

    async def talk(name: str) -> str:
        async with connected(*address, ssl=client_context()) as streams:
            return await ask(name, *streams)

    async with serving(shout, host="127.0.0.1", ssl=server_context()) as address:
        return await asyncio.gather(*(talk(name) for name in NAMES))


@returns(("ANN", "refused", "ann@test"))
async def asyncio_mutual_tls_streams() -> tuple[str, str, str]:
    """A client with a certificate is answered and known by it; one without is refused."""
    known = []

    async def shout_if_known(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known.extend(writer.get_extra_info("peercert")["subjectAltName"])
        await shout(reader, writer)

    async def talk(has_certificate: bool) -> str:
        try:
            async with connected(*address, ssl=client_context(has_certificate)) as streams:
                return await ask("ann", *streams) or "refused"
        except OSError:  # ssl.SSLError too; with TLS 1.3 it depends on the order which, and where it is raised
            return "refused"

    async with serving(shout_if_known, host="127.0.0.1", ssl=server_context(is_mutual=True)) as address:
        answers = await asyncio.gather(talk(True), talk(False))
    ((_, name),) = known
    return *answers, name


@returns(("PLAIN", "go ahead", "SECRET", "TLSv1.3"))
async def asyncio_start_tls() -> tuple[str, str, str, str]:
    """A connection that begins in the clear goes on over TLS as soon as the client asks for it."""

    async def shout_until_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (line := await reader.readline()) != b"STARTTLS\n":
            writer.write(line.upper())
        writer.write(b"go ahead\n")
        # No await before this one: what the client then sends belongs to TLS, and must not be read as text.
        await writer.start_tls(server_context())
        await shout(reader, writer)

    async with serving(shout_until_tls, host="127.0.0.1") as address, connected(*address) as (reader, writer):
        plain = await ask("plain", reader, writer)
        agreed = await ask("STARTTLS", reader, writer)
        await writer.start_tls(client_context(), server_hostname="127.0.0.1")
        secret = await ask("secret", reader, writer)
        return plain, agreed, secret, writer.get_extra_info("ssl_object").version()


class Datagrams(asyncio.DatagramProtocol):
    """What has been received and not been taken; once closed, the connection is lost."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
        self.is_lost = asyncio.Event()

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.received.put_nowait((data, address))

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost.set()


@contextlib.asynccontextmanager
async def datagrams(**where: Any) -> AsyncIterator[tuple[asyncio.DatagramTransport, Datagrams]]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, **where)
    try:
        yield transport, protocol
    finally:
        transport.close()
        await protocol.is_lost.wait()


@contextlib.asynccontextmanager
async def shouting_datagrams() -> AsyncIterator[Any]:
    """Answer each datagram; the value is the address."""
    async with datagrams(local_addr=("127.0.0.1", 0)) as (transport, protocol):

        async def serve() -> None:
            while True:
                data, address = await protocol.received.get()
                transport.sendto(data.upper(), address)

        serving = asyncio.create_task(serve())
        yield transport.get_extra_info("sockname")
        serving.cancel()
        await asyncio.wait([serving])


async def heard(
    protocol: Datagrams, send: Callable[[bytes], None], words: list[str] = NAMES
) -> tuple[list[str], set[Any]]:
    """Send words until each is answered, for datagrams may be lost, double and in any order; return from where, too."""
    waiting = {name.upper(): name for name in words}
    answers, addresses = [], set()
    while waiting:
        for name in waiting.values():
            send(name.encode())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while waiting:
                    data, address = await protocol.received.get()
                    if waiting.pop(data.decode(), None):
                        answers.append(data.decode())
                        addresses.add(address)
    return sorted(answers), addresses


@returns((SHOUTED, True))
async def asyncio_connected_datagrams() -> tuple[list[str], bool]:
    """A socket connected to a server gets the server's answers, and from nobody else."""
    async with shouting_datagrams() as address, datagrams(remote_addr=address) as (transport, protocol):
        answers, addresses = await heard(protocol, transport.sendto)
    return answers, addresses == {address}


@returns((SHOUTED, True))
async def asyncio_unconnected_datagrams() -> tuple[list[str], bool]:
    """One socket asks two servers, and each answers."""
    async with (
        shouting_datagrams() as first,
        shouting_datagrams() as second,
        datagrams(local_addr=("127.0.0.1", 0)) as (transport, protocol),
    ):
        from_first = await heard(protocol, lambda data: transport.sendto(data, first), NAMES[:2])
        from_second = await heard(protocol, lambda data: transport.sendto(data, second), NAMES[2:])
    return from_first[0] + from_second[0], (from_first[1], from_second[1]) == ({first}, {second})


# redis-py


class Push(list[Any]):
    """A message that nobody asked for."""


def resp(value: Any) -> bytes:
    """A value as version 3 of Redis's protocol has it."""
    match value:
        case None:
            return b"_\r\n"
        case Exception():
            return b"-ERR %s\r\n" % str(value).encode()
        case int():
            return b":%d\r\n" % value
        case str():
            return b"+%s\r\n" % value.encode()
        case bytes():
            return b"$%d\r\n%s\r\n" % (len(value), value)
        case dict():
            items = [part for pair in value.items() for part in pair]
            return b"%%%d\r\n%s" % (len(value), b"".join(map(resp, items)))
        case list():
            return b"%s%d\r\n%s" % (b">" if isinstance(value, Push) else b"*", len(value), b"".join(map(resp, value)))
    raise TypeError(value)


class Redis:
    """A server that knows a few commands of Redis."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.subscribers: dict[bytes, list[asyncio.StreamWriter]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while header := await reader.readline():  # *2
            words = []
            for _ in range(int(header[1:])):
                length = int((await reader.readline())[1:])  # $3
                words.append((await reader.readexactly(length + 2))[:-2])
            writer.write(resp(self.answer(words[0].upper(), words[1:], writer)))
            await writer.drain()
        for writers in self.subscribers.values():
            if writer in writers:
                writers.remove(writer)

    def answer(self, command: bytes, words: list[bytes], writer: asyncio.StreamWriter) -> Any:
        match command, *words:
            case b"HELLO", b"3":
                return {b"server": b"redis", b"version": b"7.4.0", b"proto": 3, b"id": 1, b"mode": b"standalone"}
            case b"CLIENT", b"SETINFO", _, _:
                return "OK"
            case b"SET", key, value:
                self.values[key] = value
                return "OK"
            case b"GET", key:
                return self.values.get(key)
            case b"INCRBY", key, step:  # what redis-py makes of incr()
                number = int(self.values.get(key, b"0")) + int(step)
                self.values[key] = b"%d" % number
                return number
            case b"SUBSCRIBE", channel:
                self.subscribers.setdefault(channel, []).append(writer)
                return Push([b"subscribe", channel, 1])
            case b"UNSUBSCRIBE", channel:
                self.subscribers[channel].remove(writer)
                return Push([b"unsubscribe", channel, 0])
            case b"PUBLISH", channel, message:
                subscribers = self.subscribers.get(channel, [])
                for subscriber in subscribers:
                    subscriber.write(resp(Push([b"message", channel, message])))
                return len(subscribers)
        return ValueError("unknown command")  # as servers of before 7.2 say to CLIENT MAINT_NOTIFICATIONS


@returns((True, "Ann", None, [1, 2, 3], [True, "4"]))
async def redis_commands() -> tuple[Any, ...]:
    """Values are kept, increments at the same time are each counted, and a pipeline is answered in order."""
    import redis.asyncio

    async with (
        serving(Redis().serve, host="127.0.0.1") as (host, port),
        redis.asyncio.Redis(host=host, port=port, protocol=3, decode_responses=True) as client,
    ):
        is_set = await client.set("name", "Ann")
        values = await asyncio.gather(client.get("name"), client.get("nothing"))
        numbers = await asyncio.gather(*(client.incr("visits") for _ in range(3)))
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.set("visits", "4")
            pipeline.get("visits")
            return is_set, *values, sorted(numbers), await pipeline.execute()


@returns(([2, 2, 2], [NAMES] * 2))
async def redis_publish_subscribe() -> tuple[list[int], list[list[str]]]:
    """What is published once both have subscribed reaches both, in order."""
    import redis.asyncio

    async with (
        serving(Redis().serve, host="127.0.0.1") as (host, port),
        redis.asyncio.Redis(host=host, port=port, protocol=3, decode_responses=True) as client,
    ):
        all_listen = asyncio.Barrier(3)

        async def listen() -> list[str]:
            async with client.pubsub() as subscription:
                await subscription.subscribe("names")
                messages = subscription.listen()
                assert (await anext(messages))["type"] == "subscribe"
                await all_listen.wait()
                heard = [(await anext(messages))["data"] for _ in NAMES]
                await subscription.unsubscribe("names")
                assert (await anext(messages))["type"] == "unsubscribe"
                return heard

        async def publish() -> list[int]:
            await all_listen.wait()
            return [await client.publish("names", name) for name in NAMES]

        first, second, receivers = await asyncio.gather(listen(), listen(), publish())
    return receivers, [first, second]


# aiohappyeyeballs


@returns(("127.0.0.1", "ANN"))
async def aiohappyeyeballs_race() -> tuple[str, str]:
    """Of two addresses, the one where a server listens is connected to, although the other is tried first."""
    from aiohappyeyeballs import start_connection

    async with serving(shout, host="127.0.0.1") as address:
        with socket.socket(socket.AF_INET6) as deaf:
            deaf.bind(("::1", address[1]))  # and does not listen: nobody else can, on that port
            kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            addresses = [(socket.AF_INET6, *kind, ("::1", address[1], 0, 0)), (socket.AF_INET, *kind, address)]
            winner = await start_connection(addresses, happy_eyeballs_delay=0.25)
        async with connected(sock=winner) as streams:
            return winner.getpeername()[0], await ask("ann", *streams)
