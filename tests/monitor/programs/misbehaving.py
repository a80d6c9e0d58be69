"""The code under test: silent failures. `# here` marks the line that the report has to name.

Copied into each project that `test_runners.py` generates.
"""

import asyncio
import gc
import inspect
from asyncio import create_task
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

kept: set[asyncio.Task[None]] = set()
"""Tasks that are referred to for longer than a test."""


class Wakeups:
    """Events that wake tasks after their test, as far as these belong to the running loop."""

    def __init__(self) -> None:
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def wait_for_wakeup(self) -> None:
        event = asyncio.Event()
        self._waiters.append((asyncio.get_running_loop(), event))
        await event.wait()

    async def wake_all(self) -> None:
        for loop, event in self._waiters:
            if loop is asyncio.get_running_loop():
                event.set()
        await turns()


teardown, later_test = Wakeups(), Wakeups()


async def fail() -> None:
    raise ConnectionError("no server")


async def wait_for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def fail_when_cancelled() -> None:
    try:
        await wait_for_ever()
    finally:
        raise ConnectionError("cannot close")


async def fail_at(wakeups: Wakeups) -> None:
    await wakeups.wait_for_wakeup()
    await fail()


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def failed() -> None:
    create_task(fail())  # here
    await turns()


async def failed_and_kept() -> None:
    kept.add(asyncio.get_running_loop().create_task(fail()))  # here
    await turns()


async def failed_while_cancelled() -> None:
    kept.add(asyncio.ensure_future(fail_when_cancelled()))  # here
    await turns()


async def failed_and_cancelled() -> None:
    task = create_task(fail())  # here
    await turns()
    assert not task.cancel()


async def failed_and_cancelled_and_kept() -> None:
    task = create_task(fail())  # here
    kept.add(task)
    await turns()
    task.cancel()
    task.cancel("again")
    await asyncio.wait([task])


async def failed_behind_shield() -> None:
    async def fail_after_a_turn() -> None:
        await asyncio.sleep(0)
        await fail()

    async def wait() -> None:
        await asyncio.shield(fail_after_a_turn())  # here

    waiter = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiter.cancel()
    await turns()


async def failed_in_teardown() -> None:
    create_task(fail_at(teardown))  # here
    await turns()


async def failed_in_later_test() -> None:
    create_task(fail_at(later_test))  # here
    await turns()


async def failed_in_fixture() -> None:
    create_task(fail())  # here
    await turns()


async def failed_in_module() -> None:
    create_task(fail())  # here
    await turns()


async def failed_in_callback() -> None:
    def callback() -> None:
        raise ConnectionError("no server")  # here

    asyncio.get_running_loop().call_soon(callback)
    await turns()


async def failed_in_timer() -> None:
    def callback() -> None:
        raise ConnectionError("no server")  # here

    asyncio.get_running_loop().call_later(0, callback)
    await asyncio.sleep(0.001)


async def leaked() -> None:
    kept.add(asyncio.create_task(wait_for_ever()))  # here
    await turns()


async def leaked_unstarted() -> None:
    kept.add(asyncio.create_task(wait_for_ever()))  # here


async def leaked_in_sleep() -> None:
    asyncio.create_task(asyncio.sleep(3600))  # here
    await turns()


async def leaked_by_task() -> None:
    async def start() -> None:
        kept.add(asyncio.create_task(wait_for_ever()))  # here

    await asyncio.create_task(start())
    await turns()


async def leaked_behind_shield() -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(asyncio.sleep(3600)), 0.001)  # here


async def leaked_by_gather() -> None:
    with suppress(ConnectionError):
        await asyncio.gather(turns(), asyncio.sleep(3600), fail())  # here


async def leaked_by_as_completed() -> None:
    for first in asyncio.as_completed([turns(), asyncio.sleep(3600)]):  # here
        await first
        break


async def destroyed() -> None:
    asyncio.create_task(wait_for_ever())  # here
    await turns()
    gc.collect()


class Bug(NamedTuple):
    """A silent failure, and the expected report."""

    trigger: Callable[[], Coroutine[Any, Any, None]]
    report: str
    error: str | None = None
    place: str = "test"  # or its fixture, or a fixture of the module

    @property
    def line(self) -> int:
        """The line that the report has to name."""
        lines, first = inspect.getsourcelines(self.trigger)
        return next(number for number, line in enumerate(lines, first) if line.endswith("# here\n"))


UNHANDLED, LEAKED, UNREFERENCED = "UnhandledTaskExceptionWarning", "LeakedTaskWarning", "DestroyedTaskWarning"

BUGS = {
    "failed": Bug(failed, UNHANDLED, "no server"),
    "failed_and_kept": Bug(failed_and_kept, UNHANDLED, "no server"),
    "failed_while_cancelled": Bug(failed_while_cancelled, UNHANDLED, "cannot close"),
    "failed_and_cancelled": Bug(failed_and_cancelled, UNHANDLED, "no server"),
    "failed_and_cancelled_and_kept": Bug(failed_and_cancelled_and_kept, UNHANDLED, "no server"),
    "failed_behind_shield": Bug(failed_behind_shield, UNHANDLED, "no server"),
    "failed_in_teardown": Bug(failed_in_teardown, UNHANDLED, "no server"),
    "failed_in_later_test": Bug(failed_in_later_test, LEAKED, "no server"),  # pending when its test has ended
    "failed_in_fixture": Bug(failed_in_fixture, UNHANDLED, "no server", "fixture"),
    "failed_in_module": Bug(failed_in_module, UNHANDLED, "no server", "module"),
    "failed_in_callback": Bug(failed_in_callback, UNHANDLED, "no server"),
    "failed_in_timer": Bug(failed_in_timer, UNHANDLED, "no server"),
    "leaked": Bug(leaked, LEAKED),
    "leaked_unstarted": Bug(leaked_unstarted, LEAKED),
    "leaked_in_sleep": Bug(leaked_in_sleep, LEAKED),
    "leaked_by_task": Bug(leaked_by_task, LEAKED),
    "leaked_behind_shield": Bug(leaked_behind_shield, LEAKED),
    "leaked_by_gather": Bug(leaked_by_gather, LEAKED),
    "leaked_by_as_completed": Bug(leaked_by_as_completed, LEAKED),
    "destroyed": Bug(destroyed, UNREFERENCED),
}


def bugs_except(lacking: dict[str, str]) -> list[str]:
    """Return the names of the misbehaving of a test, without those that are impossible under its runner."""
    return [name for name, bug in BUGS.items() if bug.place != "module" and name not in lacking]


async def trigger(name: str, place: str) -> None:
    """Commit the bug if `place` is its place."""
    if name in BUGS and BUGS[name].place == place:
        await BUGS[name].trigger()
