"""Ctrl-C ends an exploration, also where Python ignores exceptions, and leaves no handler behind."""

import asyncio
import signal

import pytest

from pytest_background_tasks import Explorer

pytestmark = pytest.mark.usefixtures("interruptible")


class InterruptedAtItsEnd:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_in_a_destructor_is_not_lost() -> None:
    runs = []

    async def scenario() -> None:
        runs.append(1)
        if len(runs) == 5:
            InterruptedAtItsEnd()
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0), asyncio.sleep(0))

    with pytest.raises(KeyboardInterrupt, match=r"^\d schedules explored, none failed; running: "):
        Explorer().explore(scenario)
    assert len(runs) == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handler_of_the_program_is_kept() -> None:
    caught = []

    async def scenario() -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, lambda *_: caught.append(1))
    try:
        assert Explorer().explore(scenario).failure is None
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught
