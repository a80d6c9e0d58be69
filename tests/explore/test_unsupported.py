"""Calls that cannot be controlled are refused; the error names the call and what to use instead."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from pytest_background_tasks import UncontrolledOperation

RunSchedule = Any  # the fixture


async def connect() -> None:
    await asyncio.open_connection("localhost", 1)


async def serve() -> None:
    await asyncio.start_server(lambda *_: None, "localhost", 0)


async def resolve() -> None:
    await asyncio.get_running_loop().getaddrinfo("localhost", 1)


async def run_process() -> None:
    await asyncio.create_subprocess_exec("true", stdout=subprocess.PIPE)


async def handle_signal() -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)


async def receive() -> None:
    with socket.socket() as sock:
        await asyncio.get_running_loop().sock_recv(sock, 1)


async def watch() -> None:
    asyncio.get_running_loop().add_reader(0, print)


@pytest.mark.parametrize(
    ("scenario", "call", "instead"),
    [
        (connect, "create_connection() performs real I/O", "httpx.ASGITransport"),
        (serve, "create_server() performs real I/O", "an in-memory transport"),
        (resolve, "getaddrinfo() performs real I/O", "an in-memory transport"),
        (run_process, "subprocess_exec() starts a real process", "a fake of the code that starts the process"),
        (handle_signal, "add_signal_handler() handles real signals", "a direct call of the signal handler"),
        (receive, "sock_recv() performs real I/O", "an in-memory transport"),
        (watch, "add_reader() performs real I/O", "an in-memory transport"),
    ],
)
def test_uncontrollable_call_is_refused(
    run_schedule: RunSchedule, scenario: Callable[[], Coroutine[Any, Any, None]], call: str, instead: str
) -> None:
    with pytest.raises(UncontrolledOperation) as raised:
        run_schedule(scenario)
    assert str(raised.value).startswith(f"loop.{call}, which an exploration cannot control\nUse instead: ")
    assert instead in str(raised.value)


def test_call_is_refused_even_if_the_program_catches_the_error(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        with suppress(Exception):
            await connect()

    with pytest.raises(UncontrolledOperation):
        run_schedule(scenario)


def test_every_abstract_loop_method_is_implemented_or_refused() -> None:
    """No method is left that would only raise NotImplementedError."""
    from pytest_background_tasks._explore.controlled_loop import ControlledLoop

    for name, call in vars(asyncio.AbstractEventLoop).items():
        if callable(call) and not name.startswith("_"):
            assert getattr(ControlledLoop, name) is not call, name
