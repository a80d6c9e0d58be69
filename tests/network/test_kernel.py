"""Each program sees the same on the in-process network as on the kernel's sockets: results, errors and readiness."""

import array
import itertools
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Program = Callable[..., None]
STREAMS: list[tuple[Program, str]] = []
SINGLE: list[Program] = []
CONNECTED = ("tcp", "tcp6", "unix")
LINGER_NOT = struct.pack("ii", 1, 0)


def of_streams(*kinds: str) -> Callable[[Program], Program]:
    """Run a program once for each kind of stream socket."""

    def register(program: Program) -> Program:
        STREAMS.extend((program, kind) for kind in kinds or CONNECTED)
        return program

    return register


def program(function: Program) -> Program:
    SINGLE.append(function)
    return function


def end(do: Any, *socks: socket.socket) -> None:
    """Record all that is left to see of a connection."""
    for sock in socks:
        do.ready(sock)
        do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
        do(sock.recv, 100)
        do(sock.recv, 100)
        do(sock.send, b"z")
        do(sock.send, b"z")
        do.ready(sock)
        do(sock.getpeername)
        do(sock.getsockname)
        do(sock.shutdown, socket.SHUT_RDWR)


# Connecting.


@program
def refused(do: Any) -> None:
    free = do.new()
    free.bind(("127.0.0.1", 0))
    place = free.getsockname()
    for blocks in (True, False):
        for first in ("connect", "connect_ex"):
            sock = do.new()
            sock.setblocking(blocks)
            do(getattr(sock, first), place)
            do.ready(sock)
            do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
            do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
            do.ready(sock)
            do(sock.getpeername)
            do(sock.recv, 1)
            do(sock.send, b"1")
            do(sock.shutdown, socket.SHUT_RDWR)
    free.close()
    do(do.new().connect, place)


@program
def refused_and_seen_by(do: Any) -> None:
    free = do.new()
    free.bind(("127.0.0.1", 0))
    for name, *args in (
        ("recv", 1),
        ("send", b"1"),
        ("connect", free.getsockname()),
        ("getpeername",),
        ("shutdown", 2),
    ):
        sock = do.new()
        sock.setblocking(False)
        do(sock.connect, free.getsockname())
        do(getattr(sock, name), *args)
        do.ready(sock)
        do(getattr(sock, name), *args)
        do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)


@program
def refused_and_connected_later(do: Any) -> None:
    server = do.new()
    server.bind(("127.0.0.1", 0))
    for blocks in (True, False):
        sock = do.new()
        sock.setblocking(blocks)
        place = server.getsockname()
        do(sock.connect, place)
        do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
        server.listen()
        do(sock.connect, place)
        do.ready(sock)
        do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
        do(sock.connect_ex, place)
        server.shutdown(socket.SHUT_RDWR)
        server = do.new()
        server.bind(("127.0.0.1", 0))


@of_streams()
def connecting_without_blocking(do: Any, kind: str) -> None:
    listener = do.listener(kind)
    sock = do.new(listener.family)
    sock.setblocking(False)
    do.ready(listener)
    do(sock.connect, listener.getsockname())
    do.ready(sock)
    do.ready(listener)
    do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
    do(sock.getpeername)
    do(sock.connect, listener.getsockname())
    do(sock.connect, listener.getsockname())
    do(sock.connect_ex, listener.getsockname())
    do(sock.send, b"early")
    server, _ = do(listener.accept)
    do.ready(listener)
    do(server.recv, 10)
    do(sock.bind, do.path("other") if kind == "unix" else ("127.0.0.1" if kind == "tcp" else "::1", 0))
    do(sock.listen)
    do(sock.accept)


@of_streams()
def names_and_options_in_each_state(do: Any, kind: str) -> None:
    listener = do.listener(kind)
    fresh = do.new(listener.family)
    client, server = do.pair(kind)
    gone, left = do.pair(kind)
    gone.close()
    for sock in (fresh, listener, client, server, left):
        do.ready(sock)
        do(sock.getsockname)
        do(sock.getpeername)
        for option in ("TYPE", "DOMAIN", "PROTOCOL", "ACCEPTCONN", "ERROR", "REUSEADDR", "KEEPALIVE", "BROADCAST"):
            do(sock.getsockopt, socket.SOL_SOCKET, getattr(socket, f"SO_{option}"))
        do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_TYPE, 4)
        do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_TYPE, 100)
        do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_LINGER, 8)
        do(sock.getsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY)
        do(sock.getsockopt, socket.SOL_SOCKET, 9999)
        do(sock.getsockopt, 9999, 1)
        do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_TYPE, -1)
        do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_TYPE, 5000)


@of_streams()
def wrong_calls_in_each_state(do: Any, kind: str) -> None:
    listener = do.listener(kind)
    fresh = do.new(listener.family)
    bound = do.listener(kind, name="other")
    client, _ = do.pair(kind)
    for sock in (fresh, listener, client):
        sock.setblocking(False)
        do(sock.accept)
        if sock is not client:
            do(sock.recv, 1)
            do(sock.send, b"1")
            do(sock.sendall, b"1")
            do(sock.send, b"")
            do(sock.recv, 0)
        do(sock.bind, bound.getsockname())
        do(sock.sendto, b"1", bound.getsockname())
        if sock is not fresh:
            do(sock.connect, bound.getsockname())
            do(sock.connect_ex, bound.getsockname())
        do(sock.shutdown, 17)
        if sock is not client:
            do(sock.shutdown, socket.SHUT_WR)
        do.ready(sock)
    do(client.listen)
    do(fresh.listen)


@of_streams()
def full_backlog(do: Any, kind: str) -> None:
    listener = do.listener(kind, 1)
    socks = [do.new(listener.family) for _ in range(4)]
    for sock in socks:
        sock.setblocking(False)
        do(sock.connect, listener.getsockname())
        do.ready(sock)
    late = socks[-1]
    do(late.connect, listener.getsockname())
    do(late.connect_ex, listener.getsockname())
    do(late.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
    do(late.send, b"1")
    do(late.recv, 1)
    do(late.getpeername)
    do(late.getsockname)
    do(late.listen)
    do(late.shutdown, socket.SHUT_WR)
    do.ready(late)
    do(late.shutdown, socket.SHUT_RD)
    do(listener.listen, 5)
    for _ in range(2):
        do(listener.accept)


@of_streams("unix")
def waiting_for_room_in_a_backlog(do: Any, kind: str) -> None:
    listener = do.listener(kind, 0)
    first, second = do.new(socket.AF_UNIX), do.new(socket.AF_UNIX)
    do(first.connect, listener.getsockname())
    second.settimeout(0.01)
    do(second.connect, listener.getsockname())
    second.setblocking(True)
    with do.meanwhile(second.connect, listener.getsockname()):
        do(listener.accept)
    do(listener.accept)
    do(second.getpeername)


@of_streams()
def a_listener_closes_with_connections_in_its_backlog(do: Any, kind: str) -> None:
    for way in ("close", "shutdown"):
        listener = do.listener(kind, name=way)
        socks = [do.new(listener.family) for _ in range(3)]
        for sock in socks:
            sock.connect(listener.getsockname())
            sock.setblocking(False)
        socks[1].send(b"data")
        do(socks[2].shutdown, socket.SHUT_WR)
        if way == "close":
            listener.close()
        else:
            do(listener.shutdown, socket.SHUT_RDWR)
            do.ready(listener)
            do(listener.accept)
        end(do, *socks)


@of_streams()
def a_client_leaves_the_backlog(do: Any, kind: str) -> None:
    for aborts in (False, True):
        listener = do.listener(kind, name=str(aborts))
        with do.new(listener.family) as sock:
            sock.connect(listener.getsockname())
            sock.send(b"data")
            if aborts:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        do.ready(listener)
        server, _ = do(listener.accept)
        server.setblocking(False)
        end(do, server)


@of_streams("tcp", "tcp6")
def listening_again(do: Any, kind: str) -> None:
    listener = do.listener(kind)
    place = listener.getsockname()
    do(listener.listen)
    do(listener.listen, -1)
    do(listener.shutdown, socket.SHUT_RD)
    do(listener.getsockname)
    do(do.new(listener.family).connect, place)
    do(listener.accept)


@program
def connecting_to_wildcards(do: Any) -> None:
    for family, wildcard, place in (
        (socket.AF_INET, "0.0.0.0", "0.0.0.0"),
        (socket.AF_INET, "", "127.0.0.1"),
        (socket.AF_INET, "", "127.0.0.7"),
        (socket.AF_INET, "127.0.0.2", "127.0.0.1"),
        (socket.AF_INET6, "::", "::"),
        (socket.AF_INET6, "::", "127.0.0.1"),
        (socket.AF_INET6, "::", "::ffff:127.0.0.1"),
        (socket.AF_INET6, "::1", "::"),
        (socket.AF_INET6, "::1", "::ffff:127.0.0.1"),
        (socket.AF_INET6, "::ffff:127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::ffff:0.0.0.0", "127.0.0.1"),
        (socket.AF_INET6, "::ffff:0.0.0.0", "::1"),
        (socket.AF_INET, "0.0.0.0", "::1"),
        (socket.AF_INET, "0.0.0.0", "::ffff:127.0.0.1"),
    ):
        listener = do.new(family)
        do(listener.bind, (wildcard, 0))
        do(listener.getsockname)
        listener.listen()
        do(listener.getsockname)
        sock = do.new(socket.AF_INET6 if ":" in place else socket.AF_INET)
        do(sock.connect, (place, listener.getsockname()[1]))
        if do(sock.getpeername):  # otherwise the kernel shows the port that was free again
            do(sock.getsockname)
        listener.setblocking(False)
        do.ready(listener)
        accepted = do(listener.accept)
        if accepted:
            do(accepted[0].getsockname)
            do(accepted[0].getpeername)


@program
def clients_that_are_bound(do: Any) -> None:
    listener = do.listener("tcp")
    for place in (("127.0.0.1", 0), ("127.0.0.3", 0), ("0.0.0.0", 0)):
        sock = do.new()
        do(sock.bind, place)
        do(sock.getsockname)
        do(sock.connect, listener.getsockname())
        do(sock.getsockname)
        do(listener.accept)


# Addresses.


HOSTS = ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::", "::ffff:127.0.0.1", "v6only")
OPTIONS = ((), ("reuse",), ("port",), ("reuse", "listen"), ("listen",))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("first", HOSTS)
@pytest.mark.parametrize("second", HOSTS)
def test_two_sockets_may_be_bound_to_one_port_exactly_if_the_kernel_says_so(
    assert_same: Program, kind: socket.SocketKind, first: str, second: str
) -> None:
    def program(do: Any) -> None:
        for pair in itertools.product(OPTIONS, OPTIONS):
            if kind == socket.SOCK_DGRAM and "listen" in (*pair[0], *pair[1]):
                continue
            port = 0
            for host, options in zip((first, second), pair, strict=True):
                sock = do.new(socket.AF_INET6 if ":" in host or host == "v6only" else socket.AF_INET, kind)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, "reuse" in options)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, "port" in options)
                if sock.family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host == "v6only")
                do.note(pair, host)
                do(sock.bind, (host.replace("v6only", "::"), port))
                port = sock.getsockname()[1]
                if "listen" in options and port:
                    do(sock.listen)
            do.close()

    assert_same(program, pauses=(0,) * 5)  # again if another program of this machine has used a port


@program
def binding(do: Any) -> None:
    for family, place in (
        (socket.AF_INET, ("192.168.77.3", 0)),
        (socket.AF_INET, ("255.255.255.255", 0)),
        (socket.AF_INET6, ("fd77::9", 0)),
        (socket.AF_INET6, ("::1", 0, 0, 0)),
        (socket.AF_INET6, ("::1", 0, 5, 0)),
        (socket.AF_INET, ("localhost", 0)),
        (socket.AF_INET, ("", 0)),
        (socket.AF_INET6, ("", 0)),
        (socket.AF_INET, (b"127.0.0.1", 0)),
        (socket.AF_INET, ("<broadcast>", 0)),
        (socket.AF_INET, ("127.1", 0)),
    ):
        sock = do.new(family)
        do(sock.bind, place)
        do(sock.getsockname)
        do(sock.bind, place)


@program
def invalid_addresses(do: Any) -> None:
    for method in ("bind", "connect", "connect_ex"):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            for place in (
                *(None, "127.0.0.1", ["127.0.0.1", 0], ("127.0.0.1",), ("127.0.0.1", 0, 0), ("127.0.0.1", "80")),
                *(("127.0.0.1", 1.5), ("127.0.0.1", -1), ("127.0.0.1", 65536), (None, 0), (1, 0), ("::1", 80)),
                *(("127.0.0.1", None), ("127.0.0.1", 1 << 70), ("a\0b", 0), ("127.0.0.1\0", 0)),
            ):
                do(getattr(do.new(type=kind), method), place)
            for place in (
                *(None, "::1", ["::1", 0], ("::1",), ("::1", 0, 0, 0, 0), ("::1", "80"), ("::1", 1.5), ("::1", -1)),
                *(("::1", 65536), (None, 0), ("127.0.0.1", 80)),
                *(("::1", 0, "a"), ("::1", 0, 0, "a")),
            ):
                do(getattr(do.new(socket.AF_INET6, kind), method), place)
            for path in (None, 1, ("a", 1), "", b"", "x" * 120, do.path("no/s"), "a\0b"):
                if (path, method) not in (("", "bind"), (b"", "bind"), ("a\0b", "bind")):
                    do(getattr(do.new(socket.AF_UNIX, kind), method), path)


@program
def paths(do: Any) -> None:
    one, other = do.new(socket.AF_UNIX), do.new(socket.AF_UNIX)
    do(one.getsockname)
    do(other.connect, do.path())
    do(one.bind, do.path())
    do(one.bind, do.path("b"))
    do(one.getsockname)
    do(os.path.exists, do.path())
    do(other.bind, do.path())
    do(other.connect, do.path())
    do(one.listen)
    do(do.new(socket.AF_UNIX, socket.SOCK_DGRAM).connect, do.path())
    do(other.connect, do.path().encode())
    do(other.getpeername)
    do(one.accept)
    do(one.close)
    do(os.path.exists, do.path())
    do(do.new(socket.AF_UNIX).connect, do.path())
    do(do.new(socket.AF_UNIX).bind, do.path())
    Path(do.path()).unlink()
    do(do.new(socket.AF_UNIX).connect, do.path())
    again = do.new(socket.AF_UNIX)
    do(again.bind, do.path())
    again.listen()
    Path(do.path()).rename(do.path("moved"))
    do(do.new(socket.AF_UNIX).connect, do.path())
    client = do.new(socket.AF_UNIX)
    do(client.connect, do.path("moved"))
    do(client.getpeername)
    Path(do.path("link")).symlink_to(do.path("moved"))
    do(do.new(socket.AF_UNIX).connect, do.path("link"))
    Path(do.path("file")).touch()
    do(do.new(socket.AF_UNIX).connect, do.path("file"))
    do(do.new(socket.AF_UNIX).bind, do.path("file"))
    do(do.new(socket.AF_UNIX, socket.SOCK_DGRAM).connect, do.path("file"))
    do(do.new(socket.AF_UNIX).connect, do.path("."))
    here = Path.cwd()
    try:
        os.chdir(do.path("."))
        relative = do.new(socket.AF_UNIX)
        do(relative.bind, "relative")
        do(relative.getsockname)
        relative.listen()
        do(do.new(socket.AF_UNIX).connect, "relative")
        do(do.new(socket.AF_UNIX).connect, do.path("relative"))
    finally:
        os.chdir(here)


@program
def abstract_names(do: Any) -> None:
    name = f"\0pytest-background-tasks-{os.getpid()}-{threading.get_ident()}"
    one, client = do.new(socket.AF_UNIX), do.new(socket.AF_UNIX)
    do(client.connect, name)
    do(one.bind, name)
    do.note(repr(one.getsockname()) == repr(name.encode()))
    do(do.new(socket.AF_UNIX).bind, name.encode())
    do(do.new(socket.AF_UNIX, socket.SOCK_DGRAM).bind, name)
    do(client.connect, name)
    one.listen()
    do(client.connect, name)
    do.note(repr(client.getpeername()) == repr(name.encode()))
    do(client.getsockname)
    do(one.accept)
    one.close()
    do(do.new(socket.AF_UNIX).connect, name)
    do(do.new(socket.AF_UNIX).bind, name)
    for each in ("", b"", "\0"):
        auto = do.new(socket.AF_UNIX)
        do(auto.bind, each)
        do.note(type(auto.getsockname()).__name__, len(auto.getsockname()))


# Data and the end of a connection.


@of_streams()
def reading_and_writing(do: Any, kind: str) -> None:
    client, server = do.pair(kind)
    do(client.recv, 1)
    do(client.send, b"abc")
    do(client.send, bytearray(b"def"))
    do(client.sendall, memoryview(b"ghi"))
    do(client.send, array.array("i", [1, 2]))
    do(client.sendmsg, [b"jk", bytearray(b"l")])
    do(client.sendto, b"mn", 0, None)
    do(client.send, b"")
    do.ready(server)
    do(server.recv, 2, socket.MSG_PEEK)
    do(server.recv, 2)
    do(server.recv, 0)
    do(server.recvfrom, 2)
    buffer = bytearray(8)
    do(server.recv_into, buffer, 2)
    do(server.recvfrom_into, memoryview(buffer)[2:], 2)
    do(server.recv_into, buffer, 0)
    do(server.recvmsg, 3)
    two = [bytearray(1), bytearray(3)]
    do(server.recvmsg_into, two)
    do.note(buffer, *two)
    do(server.recv, 100, socket.MSG_WAITALL)
    do(server.recv, 100, socket.MSG_WAITALL)
    do(server.recv, 0)
    do.ready(server)


@of_streams()
def invalid_arguments(do: Any, kind: str) -> None:
    client, server = do.pair(kind)
    client.send(b"abcdef")
    for name, *args in (
        *(("recv",), ("recv", -1), ("recv", "1"), ("recv", 1.5), ("recv", 1, 0, 0), ("recv", 1 << 70)),
        *(("recvfrom", -1), ("recvfrom", None), ("recvmsg", -1), ("recvmsg", 1, -1), ("recvmsg",)),
        *(("recv_into", b"abc"), ("recv_into", 1), ("recv_into", bytearray(2), 3), ("recv_into", bytearray(2), -1)),
        *(("recvfrom_into", bytearray(2), 3), ("recvfrom_into", bytearray(2), -1), ("recv_into", bytearray(0))),
        *(("recvmsg_into", 1), ("recvmsg_into", [b"a"]), ("recvmsg_into", [1]), ("recvmsg_into", [])),
        *(("send",), ("send", "text"), ("send", 1), ("send", None), ("sendall", "text"), ("sendall", 1)),
        *(("sendto", b"a"), ("sendto", "a", ("127.0.0.1", 1)), ("sendto", b"a", 0, 1, 2), ("sendto", b"a", "0", None)),
        *(("sendmsg", b"a"), ("sendmsg", ["a"]), ("sendmsg", 1), ("sendmsg", [b"a"], 1), ("sendmsg", [b"a"], [1])),
        *(("sendmsg", [b"a"], [(1, 1)]), ("sendmsg", [b"a"], [("a", 1, b"")]), ("sendmsg", [b"a"], [(1, 1, "a")])),
        *(("getsockopt",), ("getsockopt", 1), ("getsockopt", 1, "a"), ("setsockopt", 1, 2), ("setsockopt", 1, 2, "a")),
        *(("setsockopt", 1, 2, 1.5), ("setsockopt", 1, 2, None), ("setsockopt", 1, 2, None, -1)),
        *(("setsockopt", 1, 9999, 1), ("setsockopt", 9999, 1, 1), ("setsockopt", 1, 2, b"")),
        *(("setsockopt", 1, socket.SO_LINGER, b"1"), ("setsockopt", 1, socket.SO_TYPE, 1)),
        *(("shutdown",), ("shutdown", "a"), ("shutdown", 7), ("listen", "a"), ("getsockname", 1), ("bind",)),
        *(("connect",), ("connect_ex",), ("accept", 1), ("settimeout", -1), ("settimeout", "a")),
    ):
        do(getattr(server, name), *args)
    for sock in (do.new(client.family), do.new(client.family, socket.SOCK_DGRAM)):
        do(sock.setsockopt, 1, 9999, 1)
        do(sock.listen, "a")


@program
def closed_sockets(do: Any) -> None:
    client, server = do.pair("tcp")
    client.close()
    for name, *args in (
        *(("recv", 1), ("send", b"1"), ("getsockname",), ("getpeername",), ("shutdown", 1), ("listen",)),
        *(("accept",), ("fileno",), ("close",), ("connect", ("127.0.0.1", 80)), ("sendall", b""), ("detach",)),
        *(("getsockopt", 1, 2), ("setsockopt", 1, 2, 1), ("bind", ("127.0.0.1", 0)), ("dup",), ("settimeout", 1)),
    ):
        do(getattr(client, name), *args)
    do(server.recv, 1)


@of_streams()
def ends(do: Any, kind: str) -> None:
    """All ways to end a connection, with and without unread data on either side, seen by both."""
    for clients_data in (b"", b"unread"):
        for servers_data in (b"", b"sent"):
            for way in (
                *("close", "abort", "read", "write", "both", "read, close", "write, close", "write, abort"),
                *("write, write", "close, close", "write, write, close"),
            ):
                client, server = do.pair(kind)
                do.note(clients_data, servers_data, way)
                if clients_data:
                    server.send(clients_data)
                if servers_data:
                    client.send(servers_data)
                left = [client, server]
                first, second, *third = [*way.split(", "), ""]
                end_one(do, client, first, left)
                end_one(do, server if second == first else client, second, left)
                for each in third:
                    end_one(do, client, each, left)
                for sock in left:
                    do.ready(sock)
                end(do, *left)


def end_one(do: Any, sock: socket.socket, way: str, left: list[socket.socket]) -> None:
    if way in ("close", "abort"):
        if way == "abort":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        left.remove(sock)
        do(sock.close)
    elif way:
        how = {"read": socket.SHUT_RD, "write": socket.SHUT_WR, "both": socket.SHUT_RDWR}[way]
        do(sock.shutdown, how)


@of_streams()
def writing_to_what_was_closed(do: Any, kind: str) -> None:
    for before in (b"", b"unread"):
        for calls in (
            *(("send", "send", "recv", "recv"), ("send", "error", "send", "recv"), ("send", "recv", "recv", "send")),
            *(("recv", "send", "recv", "send"), ("send", "empty", "empty", "send"), ("empty", "send", "ready", "send")),
            *(("error", "recv", "send", "error"), ("send", "name", "shutdown", "send"), ("shutdown", "send", "recv")),
        ):
            client, server = do.pair(kind)
            if before:
                client.send(before)
            server.close()
            do.note(before, calls)
            for call in calls:
                do.ready(client)
                {
                    "send": lambda c=client: do(c.send, b"1"),
                    "empty": lambda c=client: do(c.send, b""),
                    "recv": lambda c=client: do(c.recv, 5),
                    "error": lambda c=client: do(c.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR),
                    "name": lambda c=client: do(c.getpeername),
                    "shutdown": lambda c=client: do(c.shutdown, socket.SHUT_WR),
                    "ready": lambda c=client: do.ready(c),
                }[call]()


@of_streams()
def half_closed_both_ways(do: Any, kind: str) -> None:
    client, server = do.pair(kind)
    do(client.send, b"request")
    do(client.shutdown, socket.SHUT_WR)
    do(client.send, b"more")
    do(server.recv, 100)
    do(server.recv, 100)
    do.ready(server)
    do(server.send, b"answer")
    do(server.shutdown, socket.SHUT_WR)
    do(server.shutdown, socket.SHUT_WR)
    do.ready(client)
    do.ready(server)
    do(client.recv, 100)
    do(client.recv, 100)
    end(do, client, server)


@of_streams()
def data_for_one_who_has_shut_reading(do: Any, kind: str) -> None:
    client, server = do.pair(kind)
    do(server.send, b"before")
    do(client.shutdown, socket.SHUT_RD)
    do.ready(client)
    do.ready(server)
    do(server.send, b"after")
    do(client.recv, 3)
    do(client.recv, 100)
    do(client.recv, 100)
    do(server.send, b"later")
    do(client.recv, 100)
    do(client.send, b"back")
    do(server.recv, 10)
    client.close()
    end(do, server)


@of_streams()
def many_small_writes(do: Any, kind: str) -> None:
    """How many can be read at once is the kernel's business, which may send some of them together, and late."""
    client, server = do.pair(kind)
    count = 200 if kind == "unix" else 1000
    for number in range(count):
        client.send(b"%03d" % number)
    do.ready(client)
    do.ready(server)
    server.settimeout(10)
    data = b""
    while len(data) < 3 * count:
        data += server.recv(1000)
    do.note(data)
    server.setblocking(False)
    do(server.recv, 1)


@of_streams()
def more_than_fits(do: Any, kind: str) -> None:
    """How much fits depends on the kernel's buffers; all arrives, in order, and the writer is told of room."""
    client, server = do.pair(kind)
    data = bytes(range(251)) * (8 * 1024 * 1024 // 251)
    sent, parts = 0, []
    while sent < len(data):
        try:
            sent += client.send(memoryview(data)[sent:])
        except BlockingIOError:
            if not parts:
                do.ready(client)
                do.ready(server)
                do(client.send, b"1")
            received = 0
            while not select.select([], [client], [], 0)[1] and select.select([server], [], [], 5)[0]:
                parts.append(server.recv(100_000))
                received += len(parts[-1])
            do.note("received") if not received else None
    client.close()
    server.setblocking(True)
    while part := server.recv(1 << 20):
        parts.append(part)
    do.note(b"".join(parts) == data)


@of_streams()
def blocking(do: Any, kind: str) -> None:
    client, server = do.pair(kind, blocks=True)
    data = b"0123456789" * 300_000
    with do.meanwhile(client.sendall, data):
        do(server.recv, len(data), socket.MSG_WAITALL)
    with do.meanwhile(server.send, b"answer"):
        do(client.recv, 100)
    with do.meanwhile(server.close):
        do(client.recv, 100)
    client, server = do.pair(kind, blocks=True)
    for sock in (client, server):
        sock.settimeout(0.01)
    do(client.recv, 1)
    do(client.recv, 1, socket.MSG_DONTWAIT)
    do(client.sendall, bytes(16 * 1024 * 1024))
    do(client.recv_into, bytearray(1))
    do(client.recvmsg, 1)
    listener = do.listener(kind)
    listener.settimeout(0.01)
    do(listener.accept)


@of_streams()
def waiting_for_all(do: Any, kind: str) -> None:
    client, server = do.pair(kind, blocks=True)
    client.send(b"abc")
    with do.meanwhile(client.send, b"def"):
        do(server.recv, 6, socket.MSG_WAITALL)
    client.send(b"abc")
    do(server.recv, 3, socket.MSG_PEEK | socket.MSG_WAITALL)
    client.shutdown(socket.SHUT_WR)
    do(server.recv, 6, socket.MSG_WAITALL)
    client, server = do.pair(kind, blocks=True)
    client.send(b"abc")
    server.settimeout(0.01)
    do(server.recv, 6, socket.MSG_WAITALL)
    do(server.recv, 6, socket.MSG_DONTWAIT)


@of_streams()
def a_reader_waits_while_the_other_side_aborts(do: Any, kind: str) -> None:
    client, server = do.pair(kind, blocks=True)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    with do.meanwhile(server.close):
        do(client.recv, 100)
    client.settimeout(0)
    end(do, client)


@of_streams()
def a_writer_waits_while_the_other_side_closes(do: Any, kind: str) -> None:
    client, server = do.pair(kind, blocks=True)
    try:
        client.setblocking(False)
        while True:
            client.send(bytes(100_000))
    except BlockingIOError:
        client.settimeout(10)
    with do.meanwhile(server.close):
        do(client.sendall, bytes(10_000_000))
    do(client.send, b"1")
    do.ready(client)
    do(client.recv, 1)


@of_streams()
def copies(do: Any, kind: str) -> None:
    """The connection ends with the last descriptor, not before."""
    client, server = do.pair(kind)
    copy = do(client.dup)
    do(copy.getpeername)
    do(copy.send, b"by the copy")
    client.close()
    do(server.recv, 100)
    do(server.recv, 100)
    do.ready(server)
    number = copy.detach()
    do(copy.fileno)
    do(copy.send, b"1")
    do(server.recv, 100)
    again = do.new(fileno=number)
    do.note(again)
    do(again.send, b"again")
    do(server.recv, 100)
    other = socket.fromfd(again.fileno(), again.family, again.type)
    do.note(other)
    again.close()
    do(other.send, b"other")
    do(server.recv, 100)
    other.close()
    do(server.recv, 100)
    client, server = do.pair(kind)
    number = client.detach()
    do(server.recv, 1)
    socket.close(number)
    do(server.recv, 1)
    client, server = do.pair(kind)
    os.close(client.detach())
    do(server.recv, 1)


@of_streams()
def files(do: Any, kind: str) -> None:
    client, server = do.pair(kind, blocks=True)
    with client.makefile("rwb") as file, server.makefile("r", encoding="utf-8") as text:
        do(file.write, "a\u00e4\nb\n".encode())
        do(file.flush)
        do(text.readline)
        client.close()
        do(text.readline)
        do(file.write, b"last")
    do(client.fileno)
    do(server.recv, 10)
    do(server.recv, 10)
    client, server = do.pair(kind)
    with server.makefile("rb") as file:
        do(file.read, 1)
        do(file.readinto, bytearray(1))


@of_streams()
def context_managers(do: Any, kind: str) -> None:
    client, server = do.pair(kind)
    with client:
        do(client.send, b"1")
    do(client.fileno)
    do(server.recv, 1)
    do(server.recv, 1)
    do(lambda: repr(client))
    do(lambda: repr(server).partition("laddr")[0].partition("family")[2])


@of_streams("unix")
def descriptors_are_passed_on(do: Any, kind: str) -> None:
    client, server = do.pair(kind)
    with Path(do.path("file")).open("w+b") as file:
        do(lambda: socket.send_fds(client, [b"one"], [file.fileno(), file.fileno()]))
        do(client.send, b"two")
        data, descriptors, flags, address = socket.recv_fds(server, 100, 5)
        do.note(data, len(descriptors), flags, address)
        do.note(os.write(descriptors[0], b"through it"))
        do(file.seek, 0)
        do(file.read)
        for each in descriptors:
            os.close(each)
        do(server.recv, 100)
        do(lambda: socket.send_fds(client, [b"three"], [file.fileno()]))
        do(server.recv, 2)
        do(server.recvmsg, 100, 100)
        do(lambda: socket.send_fds(client, [b"four"], [file.fileno()]))
        data, descriptors, flags, address = socket.recv_fds(server, 2, 1)
        do.note(data, len(descriptors), flags, address)
        for each in descriptors:
            os.close(each)
        do(server.recvmsg, 100, 100)
        do(lambda: socket.send_fds(client, [b"five"], [file.fileno(), file.fileno()]))
        data, descriptors, flags, address = socket.recv_fds(server, 100, 1)
        do.note(data, len(descriptors) in (1, 2), flags)
        for each in descriptors:
            os.close(each)
        do(lambda: socket.send_fds(client, [b"six"], [file.fileno()]))
        do(server.recvmsg, 100)
        do(lambda: socket.send_fds(client, [b"bad"], [9999]))
        do(client.sendmsg, [b"bad"], [(socket.SOL_SOCKET, 77, b"")])


@of_streams("unix")
def sockets_are_passed_on(do: Any, kind: str) -> None:
    client, server = do.pair(kind)
    near, far = do.pair(kind)
    do(lambda: socket.send_fds(client, [b"it"], [far.fileno()]))
    far.close()
    do(near.send, b"waits")
    _, (number,), *_ = socket.recv_fds(server, 100, 1)
    passed = do.new(fileno=number)
    do(passed.recv, 100)
    passed.close()
    do(near.recv, 100)


@program
def options(do: Any) -> None:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            sock = do.new(family, kind)
            for level, option, value in (
                (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
                (socket.SOL_SOCKET, socket.SO_REUSEADDR, 7),
                (socket.SOL_SOCKET, socket.SO_REUSEADDR, True),
                (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                (socket.SOL_SOCKET, socket.SO_RCVBUF, 10_000),
                (socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000),
                (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3)),
                (socket.SOL_SOCKET, socket.SO_BROADCAST, 1),
                (socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 1, 0)),
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, -1),
                (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1),
                (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0),
                (socket.IPPROTO_IP, socket.IP_TOS, 16),
                (socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 3),
            ):
                do(sock.setsockopt, level, option, value)
                do(sock.getsockopt, level, option)
                do(sock.getsockopt, level, option, 4)
                do(sock.getsockopt, level, option, 16)


@program
def options_are_inherited(do: Any) -> None:
    listener = do.new()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    client = do.new()
    client.connect(listener.getsockname())
    server, _ = do(listener.accept)
    do(server.getsockopt, socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    do(server.getsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY)
    do(server.getsockopt, socket.SOL_SOCKET, socket.SO_LINGER, 8)
    do(client.getsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY)
    server.close()
    do(client.recv, 1)


@program
def credentials(do: Any) -> None:
    client, server = do.pair("unix")
    for sock in (client, server, do.new(socket.AF_UNIX), do.listener("unix", name="other")):
        do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_PEERCRED, 100)
    do(do.new().getsockopt, socket.SOL_SOCKET, socket.SO_PEERCRED, 12)


@program
def kinds_of_sockets(do: Any) -> None:
    for args in (
        *((), (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP), (socket.AF_INET, socket.SOCK_DGRAM, 17)),
        *((socket.AF_INET, socket.SOCK_STREAM, 17), (socket.AF_INET, socket.SOCK_DGRAM, 6), (socket.AF_UNIX, 1, 5)),
        *((socket.AF_INET, 77), (9999,), ("a",), (socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)),
        *((socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC), (socket.AF_UNIX, socket.SOCK_SEQPACKET)),
    ):
        sock = do(do.new, *args)
        if sock is not None:
            do.note(sock)
            do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_PROTOCOL)
            do(sock.getblocking)
            do(sock.get_inheritable)


@program
def sockets_of_descriptors(do: Any) -> None:
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            do.note(do.new(fileno=do.new(family, kind).detach()))
    do(socket.socket, fileno=-1)
    do(socket.socket, fileno=99_999)
    do(socket.socket, fileno="a")
    file = os.open(os.devnull, os.O_RDONLY)
    do(socket.socket, fileno=file)
    os.close(file)


# Datagrams.

DATAGRAMS = ("udp", "udp6", "unix")


@of_streams(*DATAGRAMS)
def datagrams(do: Any, kind: str) -> None:
    one, other = do.datagrams(kind), do.datagrams(kind, "e")
    do.ready(one)
    do(one.recv, 10)
    do(one.sendto, b"to other", other.getsockname())
    do(one.sendto, b"", other.getsockname())
    do(one.sendto, b"with flags", 0, other.getsockname())
    do(one.sendmsg, [b"in ", b"parts"], [], 0, other.getsockname())
    do(one.send, b"1")
    do(one.sendto, b"x" * 70_000, other.getsockname()) if kind != "unix" else None
    do.ready(other)
    do(other.recvfrom, 3, socket.MSG_PEEK)
    do(other.recvfrom, 100)
    do(other.recv, 100)
    do(other.recvmsg, 4)
    do(other.recvmsg, 100)
    do(other.recv, 100)
    do.ready(other)
    do(one.sendto, b"long", other.getsockname())
    do(other.recv, 2)
    do(one.sendto, b"long", other.getsockname())
    do(other.recvfrom_into, bytearray(2))
    do(one.sendto, b"long", other.getsockname())
    do(other.recv, 0)
    do(one.sendto, b"long", other.getsockname())
    do(other.recvmsg_into, [bytearray(1), bytearray(1)])
    do(one.accept)
    do(one.listen)
    do(one.getpeername)
    do(one.shutdown, socket.SHUT_RD)
    do(one.bind, other.getsockname())
    do(one.getsockopt, socket.SOL_SOCKET, socket.SO_TYPE)
    do(one.sendto, b"to itself", one.getsockname())
    do(one.recvfrom, 100)
    for name, *args in (
        ("recv", -1),
        ("sendto", b"a"),
        ("sendto", "a", other.getsockname()),
        ("sendto", b"a", 1.5, None),
    ):
        do(getattr(one, name), *args)


@of_streams(*DATAGRAMS)
def connected_datagrams(do: Any, kind: str) -> None:
    one, other, third = do.datagrams(kind), do.datagrams(kind, "e"), do.datagrams(kind, "f")
    do(third.sendto, b"early", one.getsockname())
    do(one.connect, other.getsockname())
    do(one.getpeername)
    do(one.getsockname)
    do(third.sendto, b"unwanted", one.getsockname())
    do(one.send, b"1")
    do(one.sendall, b"2")
    do(one.sendto, b"elsewhere", third.getsockname())
    do(third.recvfrom, 100)
    do(other.recvfrom, 100)
    do(other.sendto, b"answer", one.getsockname())
    do(one.recvfrom, 100)
    do(one.recvfrom, 100)
    do(one.connect, third.getsockname())
    do(one.getpeername)
    other.close()
    do(third.connect, one.getsockname())
    do(one.shutdown, socket.SHUT_RD)
    do.ready(one)
    do(one.recv, 1)
    do(third.send, b"late")
    do(one.recv, 1)
    do(one.shutdown, socket.SHUT_WR)
    do(one.send, b"1")
    do.ready(one)


@of_streams(*DATAGRAMS)
def datagrams_to_nobody(do: Any, kind: str) -> None:
    gone = do.datagrams(kind)
    place = gone.getsockname()
    gone.close()
    for calls in (
        ("send", "send", "recv"),
        ("send", "recv", "recv"),
        ("send", "error", "recv"),
        ("send", "ready", "send"),
    ):
        sock = do.datagrams(kind, f"s{calls[1]}")
        do(sock.connect, place)
        for call in calls:
            do.ready(sock)
            if call == "error":
                do(sock.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
            elif call != "ready":
                do(getattr(sock, call), *({"send": [b"1"], "recv": [1]}[call]))
    sock = do.datagrams(kind, "free")
    do(sock.sendto, b"1", place)
    do.ready(sock)
    do(sock.sendto, b"1", place)
    do(sock.recv, 1)


@of_streams(*DATAGRAMS)
def unbound_datagrams(do: Any, kind: str) -> None:
    other = do.datagrams(kind)
    sock = do.new(other.family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    do(sock.getsockname)
    do(sock.recv, 1)
    do(sock.sendto, b"1", other.getsockname())
    do.note(bool(sock.getsockname()))
    do(other.recvfrom, 10)
    sock = do.new(other.family, socket.SOCK_DGRAM)
    do(sock.connect, other.getsockname())
    do.note(bool(sock.getsockname()))
    do(sock.send, b"2")
    do(other.recvfrom, 10)


@program
def datagrams_between_families(do: Any) -> None:
    dual = do.new(socket.AF_INET6, socket.SOCK_DGRAM)
    dual.bind(("::", 0))
    four = do.datagrams("udp")
    for sock in (dual, four):
        sock.setblocking(False)
    do(four.sendto, b"1", ("127.0.0.1", dual.getsockname()[1]))
    do(dual.recvfrom, 10)
    do(dual.sendto, b"2", ("::ffff:127.0.0.1", four.getsockname()[1]))
    do(four.recvfrom, 10)
    do(dual.sendto, b"3", ("::1", dual.getsockname()[1]))
    do(dual.recvfrom, 10)
    wild = do.new(type=socket.SOCK_DGRAM)
    wild.bind(("0.0.0.0", 0))
    do(four.sendto, b"4", ("0.0.0.0", wild.getsockname()[1]))
    do(wild.recvfrom, 10)
    do(wild.sendto, b"5", ("127.0.0.2", wild.getsockname()[1]))
    do(wild.recvfrom, 10)
    do(wild.sendto, b"6", ("<broadcast>", 9))
    do(wild.sendto, b"7", ("127.0.0.1", 0))
    do(dual.connect, ("127.0.0.1", 9))
    do(four.connect, ("::1", 9))
    do(wild.connect, four.getsockname())
    do(wild.getsockname)


@of_streams("udp", "unix")
def more_datagrams_than_fit(do: Any, kind: str) -> None:
    """UDP drops them; a sender to a path of the family UNIX has to wait."""
    one, other = do.datagrams(kind), do.datagrams(kind, "e")
    refusals = 0
    for _ in range(600):
        try:
            one.sendto(b"x" * 1000, other.getsockname())
        except BlockingIOError:
            refusals += 1
    do.note(refusals > 0)
    do.ready(other)
    while select.select([other], [], [], 0)[0]:
        other.recv(1000)
    do(one.sendto, b"again", other.getsockname())
    do(other.recv, 10)


@of_streams(*DATAGRAMS)
def waiting_for_a_datagram(do: Any, kind: str) -> None:
    one, other = do.datagrams(kind), do.datagrams(kind, "e")
    other.settimeout(0.01)
    do(other.recv, 1)
    other.settimeout(10)
    with do.meanwhile(one.sendto, b"data", other.getsockname()):
        do(other.recvfrom, 10)


@pytest.mark.parametrize("program", SINGLE, ids=lambda each: each.__name__)
def test_a_program_sees_the_same_as_on_the_kernels_sockets(assert_same: Program, program: Program) -> None:
    assert_same(program)


@pytest.mark.parametrize(("program", "kind"), STREAMS, ids=[f"{program.__name__}-{kind}" for program, kind in STREAMS])
def test_a_program_sees_the_same_as_on_the_kernels_sockets_of_each_kind(
    assert_same: Program, program: Program, kind: str
) -> None:
    assert_same(program, kind)
