"""Fixtures and scenarios shared by the tests of the explorer."""

import asyncio
from collections.abc import Callable

import pytest

from pytest_background_tasks import Trace


def beat() -> None:
    """Set the same timer again, one second later."""
    asyncio.get_running_loop().call_later(1, beat)


@pytest.fixture(scope="session")
def heartbeat() -> Callable[[], None]:
    """Return a callback, called ``beat``, that sets itself again without end."""
    return beat


@pytest.fixture(scope="session")
def order() -> Callable[[Trace], str]:
    """Return the steps of tasks in a trace, in order: ``main@0 client@0``."""

    def order_of(trace: Trace) -> str:
        return " ".join(f"{step.task}@{step.number}" for step in trace.steps if step.delivered != "call")

    return order_of


async def io() -> None:
    await asyncio.sleep(0)


async def sells_too_often() -> None:
    left = 2

    async def sell() -> None:
        nonlocal left
        before = left
        await io()
        left = before - 1

    async def look_and_sell() -> None:
        await io()
        await sell()

    await asyncio.gather(sell(), look_and_sell())
    assert left == 0


async def two_clients() -> None:
    async def client() -> None:
        await io()
        await io()

    await asyncio.gather(client(), client())


async def one_after_the_other() -> None:
    await io()
    await asyncio.sleep(1)


async def gathers() -> None:
    async def client() -> None:
        await io()

    await asyncio.gather(client(), client())
