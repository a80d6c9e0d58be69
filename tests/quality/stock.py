"""A small HTTP service and its client have four seeded bugs; the tests know only the description that follows.

`StockServer(stock)` has `await server.start(host, port)` and `await server.stop()`. It speaks HTTP/1.1 with keep-alive;
bodies have `Content-Length` bytes, JSON:

- `GET /stock/NAME` answers 200 `{"name": NAME, "left": n}`, or 404 `{"error": "..."}` for an unknown name.
- `POST /orders` with `{"name": NAME, "count": n}` answers 201 `{"name": NAME, "left": m}`, or 409 if fewer are left. It
  suspends once, for 0.01 s that stand for a database, before the stock is reduced.
- `POST /echo` answers 200 with the body of the request, whatever it is (not JSON).
- `stop()` accepts no more connections, lets each request that the server has begun to read be answered, then closes all
  connections and returns.
- A request that cannot be parsed is answered with 400, and the connection is closed. A client that disconnects in the
  middle of a request changes nothing and disturbs nobody else.

`StockClient(host, port)` has `await client.get(path)`, `await client.post(path, body)` and `await client.close()`:

- One connection is kept alive and opened again when needed; requests of several tasks take turns.
- A request returns `Answer(status, body)`, the answer to this very request, complete. It raises `ConnectionError` if
  there is no connection, or it ends before the answer is complete. It is never sent twice.
- It may be cancelled at any moment; the client remains usable, and the next request gets its own answer.

The argument `bug` of both classes switches one seeded bug on; without it they do what is described.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass

REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 409: "Conflict"}


@dataclass(frozen=True)
class Answer:
    """An answer has a status and a complete body."""

    status: int
    body: bytes


@dataclass(frozen=True)
class Head:
    """A head has the words of its first line, the length of the body, and a mark if it is the last."""

    words: tuple[str, str, str]
    length: int
    is_last: bool

    @classmethod
    def parse(cls, head: bytes, *, default_length: str = "0") -> "Head":
        """Return the head; a malformed one raises a `ValueError`."""
        line, *lines = head.decode().rstrip("\r\n").split("\n")
        first, second, third = line.rstrip("\r").split(" ", 2)
        if "HTTP/1.1" not in (first, third):
            raise ValueError(f"not HTTP/1.1: {line!r}")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip() or (name := name.lower()) in headers:
                raise ValueError(f"not a header, or a second one: {line!r}")
            headers[name] = value.strip()
        length = headers.get("content-length", default_length)
        if not (length.isascii() and length.isdigit()) or "transfer-encoding" in headers:
            raise ValueError(f"a body of unknown length: {headers}")
        return cls((first, second, third), int(length), headers.get("connection", "").lower() == "close")


class StockServer:
    """A server sells what is in stock; orders change the dictionary that it got."""

    def __init__(self, stock: dict[str, int], *, bug: str = "") -> None:
        self._stock = stock
        self._bug = bug
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._is_busy: dict[asyncio.StreamWriter, bool] = {}
        self._is_stopping = False

    async def start(self, host: str, port: int) -> None:
        """Listen at the address."""
        self._is_stopping = False
        self._server = await asyncio.start_server(self._accept, host, port)

    async def stop(self) -> None:
        """Accept no more connections, let requests that have begun be answered, and close all connections."""
        if self._server is None:
            return
        self._is_stopping = True
        self._server.close()
        for writer, is_busy in self._is_busy.items():
            if not is_busy or self._bug == "closes_at_once":  # bug: the answer to a request in flight is lost
                writer.close()
        await asyncio.sleep(0)  # connections that were accepted just before reach _accept()
        await self._server.wait_closed()  # Python 3.11 does not wait for connections here, later versions do
        while self._handlers:
            await asyncio.wait(self._handlers)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._is_busy[writer] = False
        handler = asyncio.create_task(self._handle(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # the client has disconnected
                while not self._is_stopping and await self._serve(reader, writer):
                    self._is_busy[writer] = False
        finally:
            del self._is_busy[writer]
            writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request, and tell whether the connection is kept for another one."""
        begin = await reader.read(65536 if self._bug == "one_read" else 1)
        if not begin or self._is_stopping:
            return False
        self._is_busy[writer] = True
        try:
            head, body = await self._read(begin, reader)
            status, answer = await self._answer(*head.words, body)
            is_last = head.is_last or self._is_stopping
        except (ValueError, RecursionError, asyncio.LimitOverrunError) as error:
            status, answer, is_last = 400, _json(error=str(error)), True
        end = "Connection: close\r\n" if is_last else ""
        lines = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Length: {len(answer)}\r\n{end}\r\n"
        writer.write(lines.encode() + answer)
        await writer.drain()
        if status == 400:  # closing a connection with unread data can destroy the answer, so discard what still arrives
            writer.write_eof()
            async with asyncio.timeout(1):  # a TimeoutError is an OSError, too
                while await reader.read(65536):
                    pass
        return not is_last

    async def _read(self, begin: bytes, reader: asyncio.StreamReader) -> tuple[Head, bytes]:
        if self._bug == "one_read":  # bug: a request may arrive in several parts
            lines, _, body = begin.partition(b"\r\n\r\n")
            return Head.parse(lines), body
        lines = begin + await reader.readuntil()
        Head.parse(lines)  # a wrong first line is answered at once
        while (line := await reader.readuntil()).rstrip(b"\r\n"):
            lines += line
        head = Head.parse(lines)
        return head, await reader.readexactly(head.length)

    async def _answer(self, method: str, path: str, version: str, body: bytes) -> tuple[int, bytes]:
        if version != "HTTP/1.1" or not path.startswith("/"):
            raise ValueError("not a request")
        if method == "POST" and path == "/echo":
            return 200, body
        if method == "POST" and path == "/orders":
            return await self._order(json.loads(body))
        name = path.removeprefix("/stock/")
        if method == "GET" and name != path and name in self._stock:
            return 200, _json(name=name, left=self._stock[name])
        return 404, _json(error=f"not found: {method} {path}")

    async def _order(self, order: object) -> tuple[int, bytes]:
        match order:
            case {"name": str(name), "count": int(count)} if count > 0 and count is not True:
                if name not in self._stock:
                    return 404, _json(error=f"not found: {name}")
                await asyncio.sleep(0.01)  # stands for a database
                if self._stock[name] < count:
                    return 409, _json(error=f"fewer than {count} are left: {name}")
                self._stock[name] -= count
                return 201, _json(name=name, left=self._stock[name])
        raise ValueError("not an order")


def _json(**values: object) -> bytes:
    return json.dumps(values).encode()


class StockClient:
    """A client talks to the server; it cannot be used again when it is closed."""

    def __init__(self, host: str, port: int, *, bug: str = "") -> None:
        self._host = host
        self._port = port
        self._bug = bug
        self._turn = asyncio.Lock()
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._is_closed = False

    async def get(self, path: str) -> Answer:
        """Return the answer to a GET request."""
        return await self._request("GET", path, b"")

    async def post(self, path: str, body: bytes) -> Answer:
        """Return the answer to a POST request."""
        return await self._request("POST", path, body)

    async def close(self) -> None:
        """Close the connection; a request that waits for its answer or its turn raises a `ConnectionError`."""
        self._is_closed = True
        if (connection := self._connection) is not None:
            self._drop()
            with contextlib.suppress(OSError):
                await connection[1].wait_closed()

    async def _request(self, method: str, path: str, body: bytes) -> Answer:
        if not path.startswith("/") or " " in path or not path.isprintable():
            raise ValueError(f"not a path: {path!r}")
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Length: {len(body)}\r\n\r\n"
        caught = Exception if self._bug == "keeps_connection" else BaseException  # bug: a cancellation is no Exception
        async with self._turn:
            try:
                reader, writer = await self._connect()
                writer.write(head.encode() + body)
                await writer.drain()
                return await self._read_answer(reader)
            except caught as error:
                self._drop()
                if isinstance(error, OSError | ValueError | asyncio.IncompleteReadError | asyncio.LimitOverrunError):
                    raise ConnectionError(f"{method} {path}: no complete answer: {error}") from error
                raise

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the connection, a new one if the server has closed it meanwhile."""
        if self._connection is not None and (self._connection[0].at_eof() or self._connection[1].is_closing()):
            self._drop()
        if self._connection is None and not self._is_closed:
            self._connection = await asyncio.open_connection(self._host, self._port)
        if self._connection is None or self._is_closed:
            raise ConnectionError("the client is closed")
        return self._connection

    async def _read_answer(self, reader: asyncio.StreamReader) -> Answer:
        head = Head.parse(await reader.readuntil(b"\r\n\r\n"), default_length="unknown")
        body = b""
        if self._bug == "takes_partial":
            with contextlib.suppress(ConnectionError):
                while part := await reader.read(head.length - len(body)):  # bug: the end may come before the whole body
                    body += part
        else:
            body = await reader.readexactly(head.length)
        if head.is_last:
            self._drop()
        return Answer(int(head.words[1]), body)

    def _drop(self) -> None:
        """Close the connection at once, without the rest of a request that has not been sent."""
        if self._connection is not None:
            self._connection[1].transport.abort()
            self._connection = None
