"""Calls that cannot be controlled are refused; the error names the call and what to use instead."""

import asyncio
import signal
import subprocess
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from pytest_background_tasks import UncontrolledOperation

RunSchedule = Any  # the fixture


async def run_process() -> None:
    await asyncio.create_subprocess_exec("true", stdout=subprocess.PIPE)


async def handle_signal() -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)


@pytest.mark.parametrize(
    ("scenario", "call", "instead"),
    [
        (run_process, "subprocess_exec() starts a real process", "a fake of the code that starts the process"),
        (handle_signal, "add_signal_handler() handles real signals", "a direct call of the signal handler"),
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
            await run_process()

    with pytest.raises(UncontrolledOperation):
        run_schedule(scenario)


def test_every_abstract_loop_method_is_implemented_or_refused() -> None:
    """No method is left that would only raise NotImplementedError."""
    from pytest_background_tasks._explore.controlled_loop import ControlledLoop

    for name, call in vars(asyncio.AbstractEventLoop).items():
        if callable(call) and not name.startswith("_"):
            assert getattr(ControlledLoop, name) is not call, name
