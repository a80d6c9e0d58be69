"""A small HTTP service and its client, tested under faults from their description alone.

Each scenario states one promise of the description. Under a fault, a request may raise `ConnectionError` where the
description says so; what it must never do is the promise. The scenarios count on one deviation at a time: a request
fails only because of the fault, so that the next one is answered.
"""

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from inline_snapshot import snapshot

from pytest_background_tasks import Exploration, Explorer

from .stock import Answer, StockClient, StockServer

HOST, PORT = "127.0.0.1", 8080

MakeServer = Callable[[dict[str, int]], StockServer]
MakeClient = Callable[[], StockClient]
Scenario = Callable[[MakeServer, MakeClient], Coroutine[Any, Any, None]]


async def tried(request: Awaitable[Answer]) -> Answer | None:
    """Return the answer, or None if there was a connection error."""
    try:
        return await request
    except ConnectionError:
        return None


def begin(*requests: Coroutine[Any, Any, Answer]) -> list[asyncio.Task[Answer]]:
    """Make all requests at once, each in a task that may be cancelled."""
    return [asyncio.create_task(request, name=f"request-{number}") for number, request in enumerate(requests, 1)]


async def outcomes(requests: list[asyncio.Task[Answer]]) -> list[Answer | None]:
    """Wait for all requests; the outcome is None for one that was cancelled or had a connection error."""
    results = await asyncio.gather(*requests, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, (ConnectionError, asyncio.CancelledError)):
            raise result
    return [None if isinstance(result, BaseException) else result for result in results]


def order(client: StockClient, name: str, count: int) -> Coroutine[Any, Any, Answer]:
    return client.post("/orders", json.dumps({"name": name, "count": count}).encode())


def told(answer: Answer) -> tuple[int, Any]:
    """Return the status and the content of an answer that is JSON."""
    return answer.status, json.loads(answer.body)


async def left(client: StockClient, name: str) -> int:
    """Ask how much is left; again if the connection had been reset or closed meanwhile."""
    answer = await tried(client.get(f"/stock/{name}")) or await client.get(f"/stock/{name}")
    status, content = told(answer)
    assert status == 200
    assert content["name"] == name
    return int(content["left"])


def raw(method: str, path: str, body: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one answer from a connection, and not more."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), await reader.readexactly(int(headers["content-length"]))


# The service


async def known_item(make_server: MakeServer, make_client: MakeClient) -> None:
    """A known item is told with its number, an unknown one is 404."""
    server = make_server({"apple": 5})
    await server.start(HOST, PORT)
    client = make_client()
    known = await tried(client.get("/stock/apple"))
    unknown = await tried(client.get("/stock/plum"))
    assert known is None or told(known) == (200, {"name": "apple", "left": 5})
    if unknown is not None:
        status, content = told(unknown)
        assert status == 404
        assert list(content) == ["error"]
    await client.close()
    await server.stop()


async def order_reduces(make_server: MakeServer, make_client: MakeClient) -> None:
    """An order reduces the stock once; one that failed has reduced it once or not at all."""
    server = make_server({"apple": 5})
    await server.start(HOST, PORT)
    client = make_client()
    answer = await tried(order(client, "apple", 2))
    await asyncio.sleep(1)
    if answer is not None:
        assert told(answer) == (201, {"name": "apple", "left": 3})
        assert await left(client, "apple") == 3
    else:
        assert await left(client, "apple") in (3, 5)
    await client.close()
    await server.stop()


async def order_too_large(make_server: MakeServer, make_client: MakeClient) -> None:
    """An order of more than there is gets 409, and changes nothing."""
    server = make_server({"apple": 5})
    await server.start(HOST, PORT)
    client = make_client()
    answer = await tried(order(client, "apple", 6))
    assert answer is None or answer.status == 409
    await asyncio.sleep(1)
    assert await left(client, "apple") == 5
    await client.close()
    await server.stop()


async def last_item(make_server: MakeServer, make_client: MakeClient) -> None:
    """The last item is sold once, whoever asks for it at the same time."""
    server = make_server({"apple": 1})
    await server.start(HOST, PORT)
    ada, bob = make_client(), make_client()
    answers = await outcomes(begin(order(ada, "apple", 1), order(bob, "apple", 1)))
    statuses = sorted(answer.status for answer in answers if answer is not None)
    assert statuses in ([201, 409], [201], [409])
    await asyncio.sleep(1)
    assert await left(ada, "apple") in ([0] if 201 in statuses else [0, 1])
    for client in (ada, bob):
        await client.close()
    await server.stop()


async def books_balance(make_server: MakeServer, make_client: MakeClient) -> None:
    """The stock is less by what was sold, however many orders come at once."""
    server = make_server({"apple": 10, "pear": 1})
    await server.start(HOST, PORT)
    clients = [make_client() for _ in range(3)]
    counts = [1, 2, 4]
    answers = await outcomes(begin(*map(order, clients, ["apple"] * 3, counts)))
    sold = sum(count for count, answer in zip(counts, answers, strict=True) if answer is not None)
    tells = [told(answer) for answer in answers if answer is not None]
    assert {status for status, _ in tells} == {201}
    assert len({content["left"] for _, content in tells}) == len(tells)
    await asyncio.sleep(1)
    assert 3 <= await left(clients[0], "apple") <= 10 - sold
    assert await left(clients[1], "pear") == 1
    for client in clients:
        await client.close()
    await server.stop()


async def echo(make_server: MakeServer, make_client: MakeClient) -> None:
    """An echo is the very body of the request: bytes of all kinds, none at all, and many."""
    server = make_server({})
    await server.start(HOST, PORT)
    client = make_client()
    failed = 0
    for body in (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"", bytes(range(256)), b"0123456789" * 20_000, b"end"):
        answer = await tried(client.post("/echo", body))
        failed += answer is None
        assert answer is None or (answer.status, answer.body) == (200, body)
    assert failed <= 1
    await client.close()
    await server.stop()


async def one_connection_serves_several(make_server: MakeServer, make_client: MakeClient) -> None:
    """The server keeps a connection for the next request."""
    server = make_server({"apple": 5})
    await server.start(HOST, PORT)
    reader, writer = await asyncio.open_connection(HOST, PORT)
    for request, expected in (
        (raw("POST", "/echo", b"one"), (200, b"one")),
        (raw("POST", "/echo", b""), (200, b"")),
        (raw("POST", "/echo", b"three"), (200, b"three")),
    ):
        writer.write(request)
        assert await read_answer(reader) == expected
    writer.close()
    await writer.wait_closed()
    await server.stop()


async def what_is_no_request(make_server: MakeServer, make_client: MakeClient) -> None:
    """What cannot be parsed is answered with 400, and the connection is closed."""
    server = make_server({"apple": 5})
    await server.start(HOST, PORT)
    for request in (b"nonsense\r\n\r\n", b"POST /echo HTTP/1.1\r\nContent-Length: many\r\n\r\n"):
        reader, writer = await asyncio.open_connection(HOST, PORT)
        writer.write(request)
        status, _ = await read_answer(reader)
        assert status == 400
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    client = make_client()
    assert await left(client, "apple") == 5
    await client.close()
    await server.stop()


async def order_is_no_json(make_server: MakeServer, make_client: MakeClient) -> None:
    """An order that is not JSON gets 400, and the client can go on."""
    server = make_server({"apple": 5})
    await server.start(HOST, PORT)
    client = make_client()
    answer = await tried(client.post("/orders", b"two apples"))
    assert answer is None or answer.status == 400
    await tried(client.get("/stock/apple"))  # perhaps over the connection that the server closes
    assert await left(client, "apple") == 5
    await client.close()
    await server.stop()


async def half_a_request(make_server: MakeServer, make_client: MakeClient) -> None:
    """Who disconnects in the middle of a request changes nothing, and others are served meanwhile and afterwards."""
    server = make_server({"apple": 5})
    await server.start(HOST, PORT)
    client = make_client()
    whole = raw("POST", "/orders", b'{"name": "apple", "count": 1}')
    head = whole.index(b"\r\n\r\n")
    for size, is_reset in (
        (1, False),
        (head, True),
        (head + 4, False),
        (len(whole) - 1, True),
        (len(whole) - 1, False),
    ):
        _, writer = await asyncio.open_connection(HOST, PORT)
        writer.write(whole[:size])
        assert await left(client, "apple") == 5
        if is_reset:
            writer.transport.abort()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        assert await left(client, "apple") == 5
    await asyncio.sleep(1)
    assert await left(client, "apple") == 5
    await client.close()
    await server.stop()


# The end of the service


async def stop_answers_an_order(make_server: MakeServer, make_client: MakeClient) -> None:
    """An order that waits for the database when the server is stopped is answered."""
    server = make_server({"apple": 5})
    await server.start(HOST, PORT)
    client = make_client()
    task = asyncio.create_task(order(client, "apple", 2))
    await asyncio.sleep(0.005)
    await server.stop()
    assert told(await task) == (201, {"name": "apple", "left": 3})
    await client.close()


async def stop_answers_what_has_begun(make_server: MakeServer, make_client: MakeClient) -> None:
    """A request of which the server has read a part when it is stopped is answered; then the connection is closed."""
    server = make_server({"apple": 5})
    await server.start(HOST, PORT)
    reader, writer = await asyncio.open_connection(HOST, PORT)
    request = raw("POST", "/echo", b"some words")
    writer.write(request[:-5])
    await asyncio.sleep(1)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(1)
    assert not stopping.done()
    writer.write(request[-5:])
    assert await read_answer(reader) == (200, b"some words")
    assert await reader.read() == b""
    await stopping
    writer.close()
    await writer.wait_closed()


async def stop_returns(make_server: MakeServer, make_client: MakeClient) -> None:
    """A server stops whatever happens to those that it serves."""
    server = make_server({"apple": 5})
    await server.start(HOST, PORT)
    ada, bob = make_client(), make_client()
    orders = begin(order(ada, "apple", 2), order(bob, "apple", 1))
    await asyncio.sleep(0.005)
    await server.stop()
    answers = [answer for answer in await outcomes(orders) if answer is not None]
    assert len(answers) >= 1
    assert {answer.status for answer in answers} == {201}
    for client in (ada, bob):
        await client.close()


async def stops_while_orders_arrive(make_server: MakeServer, make_client: MakeClient, yields: int) -> None:
    """The stock is what the answers say when the server has stopped, and does not change afterwards."""
    stock = {"apple": 5, "pear": 5}
    server = make_server(stock)
    await server.start(HOST, PORT)
    ada, bob = make_client(), make_client()
    assert await left(ada, "apple") == 5  # so ada has a connection, and bob does not
    orders = begin(order(ada, "apple", 2), order(bob, "pear", 2))
    for _ in range(yields):
        await asyncio.sleep(0)
    await server.stop()
    stopped = dict(stock)
    answers = await outcomes(orders)
    await asyncio.sleep(1)
    assert stock == stopped
    for name, answer in zip(("apple", "pear"), answers, strict=True):
        if answer is None:
            assert stock[name] == 5
        else:
            assert told(answer) == (201, {"name": name, "left": 3})
    for client in (ada, bob):
        await client.close()


async def stop_before_orders(make_server: MakeServer, make_client: MakeClient) -> None:
    """If the server is stopped just before orders arrive, each is answered or changes nothing."""
    await stops_while_orders_arrive(make_server, make_client, 0)


async def stop_after_orders(make_server: MakeServer, make_client: MakeClient) -> None:
    """If the server is stopped just after orders were sent, each is answered or changes nothing."""
    await stops_while_orders_arrive(make_server, make_client, 5)


async def stop_closes_all(make_server: MakeServer, make_client: MakeClient) -> None:
    """A stopped server has closed its idle connections, and accepts no new one."""
    server = make_server({"apple": 5})
    await server.start(HOST, PORT)
    client = make_client()
    assert await left(client, "apple") == 5
    reader, writer = await asyncio.open_connection(HOST, PORT)
    await server.stop()
    with suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    for each in (client, client, make_client()):
        with pytest.raises(ConnectionError):
            await each.get("/stock/apple")
    await client.close()


# The client


async def tasks_take_turns(make_server: MakeServer, make_client: MakeClient) -> None:
    """Each of several tasks that share a client gets its own answer."""
    server = make_server({"apple": 5, "pear": 7})
    await server.start(HOST, PORT)
    client = make_client()
    apple, ordered, words, pear = await outcomes(
        begin(
            client.get("/stock/apple"),
            order(client, "pear", 3),
            client.post("/echo", b"words"),
            client.get("/stock/pear"),
        )
    )
    assert apple is None or told(apple) == (200, {"name": "apple", "left": 5})
    assert ordered is None or told(ordered) == (201, {"name": "pear", "left": 4})
    assert words is None or (words.status, words.body) == (200, b"words")
    assert pear is None or told(pear) in [(200, {"name": "pear", "left": number}) for number in (4, 7)]
    assert [apple, ordered, words, pear].count(None) <= 1
    assert await left(client, "apple") == 5
    await client.close()
    await server.stop()


async def cancelled_request(make_server: MakeServer, make_client: MakeClient) -> None:
    """When a request has been cancelled, the one that waits for its turn and the next one get their own answers."""
    server = make_server({"apple": 5})
    await server.start(HOST, PORT)
    client = make_client()
    ordered, words = await outcomes(begin(order(client, "apple", 2), client.post("/echo", b"words")))
    assert (ordered, words).count(None) <= 1
    assert ordered is None or told(ordered) == (201, {"name": "apple", "left": 3})
    assert words is None or (words.status, words.body) == (200, b"words")
    answer = await client.post("/echo", b"next")
    assert (answer.status, answer.body) == (200, b"next")
    await client.close()
    await server.stop()


async def never_sent_twice(make_server: MakeServer, make_client: MakeClient) -> None:
    """Each order of a client arrives at most once, and the next one is answered after one that failed."""
    server = make_server({"apple": 10})
    await server.start(HOST, PORT)
    client = make_client()
    answers = []
    for _ in range(3):
        answers += await outcomes(begin(order(client, "apple", 1)))
        await asyncio.sleep(1)
    assert answers.count(None) <= 1
    assert all(answer is None or answer.status == 201 for answer in answers)
    assert 7 <= await left(client, "apple") <= 7 + answers.count(None)
    await client.close()
    await server.stop()


async def connection_is_kept(make_server: MakeServer, make_client: MakeClient) -> None:
    """All requests of a client go over one connection, until it is closed."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with closing(writer), suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")

    async with await asyncio.start_server(serve, HOST, PORT):
        client = make_client()
        for answer in (await client.get("/one"), await client.get("/two"), await client.get("/three")):
            assert (answer.status, answer.body) == (200, b"well")
        assert connections == 1
        await client.close()
        await asyncio.sleep(1)  # the server closes its end


async def service_comes_back(make_server: MakeServer, make_client: MakeClient) -> None:
    """A client raises ConnectionError while there is no server, and connects again when there is one."""
    client = make_client()
    for number in (1, 2):
        with pytest.raises(ConnectionError):
            await client.get("/stock/apple")
        server = make_server({"apple": number})
        await server.start(HOST, PORT)
        assert await left(client, "apple") == number
        await server.stop()
    await client.close()


async def service_restarts(make_server: MakeServer, make_client: MakeClient) -> None:
    """A client whose server was restarted meanwhile finds the new one, at the latest with its second request."""
    client = make_client()
    for number in (1, 2, 3):
        server = make_server({"apple": number})
        await server.start(HOST, PORT)
        assert await left(client, "apple") == number
        await server.stop()
    await client.close()


NETWORK = ["reset", "eof", "split"]
CANCEL = ["cancel:request-*"]
ALL = [*CANCEL, *NETWORK]

SCENARIOS: dict[str, tuple[Scenario, list[str]]] = {
    scenario.__name__: (scenario, faults)
    for scenario, faults in (
        (known_item, NETWORK),
        (order_reduces, NETWORK),
        (order_too_large, NETWORK),
        (last_item, ALL),
        (books_balance, ALL),
        (echo, NETWORK),
        (one_connection_serves_several, ["split"]),
        (what_is_no_request, ["split"]),
        (order_is_no_json, NETWORK),
        (half_a_request, NETWORK),
        (stop_answers_an_order, ["split"]),
        (stop_answers_what_has_begun, ["split"]),
        (stop_returns, ALL),
        (stop_before_orders, ["split"]),
        (stop_after_orders, ["split"]),
        (stop_closes_all, NETWORK),
        (tasks_take_turns, ALL),
        (cancelled_request, CANCEL),
        (never_sent_twice, ALL),
        (connection_is_kept, ["split"]),
        (service_comes_back, NETWORK),
        (service_restarts, ["split"]),
    )
}


def explored(scenario: str, *, server: str = "", client: str = "") -> Exploration:
    """Explore a scenario; the server or the client may have a bug."""
    run, faults = SCENARIOS[scenario]

    async def main() -> None:
        await run(lambda stock: StockServer(stock, bug=server), lambda: StockClient(HOST, PORT, bug=client))

    return Explorer(max_deviations=1, max_schedules=3000, faults=faults).explore(main)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_correct_service_passes(scenario: str) -> None:
    """No fault makes a correct program fail, and no cancellation ends a scenario before its assertions."""
    exploration = explored(scenario)
    assert exploration.failure is None
    assert exploration.verdict in ("bounded", "exhaustive")
    assert exploration.cut_short == 0


class Found(NamedTuple):
    """How one of the scenarios finds a bug: in which run, by which schedule, and what the report says first."""

    has_bug: str
    scenario: str
    schedule: str
    run_number: int
    report: str


BUGS = {
    "keeps_connection": Found(
        "client",
        "cancelled_request",
        "request-1@3!cancel+0",
        5,
        snapshot("""\
This test passes in asyncio's default order and fails with one deviation:
  ! request-1 is cancelled externally while it waits, at
    tests/quality/stock.py:233
        head = Head.parse(await reader.readuntil(b"\\r\\n\\r\\n"), default_length="…
        path: 195 in StockClient.post, 215 in StockClient._request, 233 in
        StockClient._read_answer\
"""),
    ),
    "one_read": Found(
        "server",
        "order_reduces",
        "main:sent@1!split-1",
        4,
        snapshot("""\
This test passes in asyncio's default order and fails with one deviation:
  ! main's data arrives at 127.0.0.1:8080 in two parts, 1 byte first\
"""),
    ),
    "closes_at_once": Found(
        "server",
        "stop_answers_an_order",
        "",
        1,
        snapshot("""\
This test fails in asyncio's default order: no deviation was needed, and no
other order was tried.\
"""),
    ),
    "takes_partial": Found(
        "client",
        "echo",
        "main:received@3!reset-40",
        5,
        snapshot("""\
This test passes in asyncio's default order and fails with one deviation:
  ! main's connection to 127.0.0.1:8080 is reset after it has received 40 bytes
    more\
"""),
    ),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a run that fails leaves its connections open
@pytest.mark.parametrize("bug", BUGS)
def test_each_seeded_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one deviation, or with none if what the description promises is already wrong in the default order."""
    monkeypatch.chdir(Path(__file__).parents[2])
    expected = BUGS[bug]
    failure = explored(expected.scenario, **{expected.has_bug: bug}).failure
    assert failure is not None
    report, _, _ = failure.error.__notes__[0].partition("\n\nWhat happened")
    found = str(failure.schedule), failure.run_number
    del failure
    gc.collect()
    assert found == (expected.schedule, expected.run_number)
    assert report == expected.report
