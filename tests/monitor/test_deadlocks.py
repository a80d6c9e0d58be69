"""Deadlocks of ordinary tests: ``background_tasks_deadlock = error``."""

from pathlib import Path
from textwrap import dedent

import pytest

from .conftest import PYTEST_ASYNCIO

DEADLOCK = """
    async def hold(lock):
        async with lock:
            await asyncio.Event().wait()

    async def hang():
        lock = asyncio.Lock()
        keep(hold(lock))
        await asyncio.sleep(0)
        async with lock:
            pass
"""
HANGING = {
    "pytest-asyncio": (PYTEST_ASYNCIO, "async def test_it(): await hang()"),
    "anyio": (
        ("-p", "anyio.pytest_plugin"),
        "@pytest.mark.anyio\n@pytest.mark.parametrize('anyio_backend', ['asyncio'])\n"
        "async def test_it(anyio_backend): await hang()",
    ),
    "unittest": (
        (),
        "import unittest\nclass TestIt(unittest.IsolatedAsyncioTestCase):\n    async def test_it(self): await hang()",
    ),
    "asyncio.run": ((), "def test_it(): asyncio.run(hang())"),
    "blocking portal": (
        (),
        "from anyio.from_thread import start_blocking_portal\n"
        "def test_it():\n    with start_blocking_portal() as portal: portal.call(hang)",
    ),
    "with the fixture": (PYTEST_ASYNCIO, "async def test_it(background_tasks): await hang()"),
}


@pytest.mark.parametrize("runner", HANGING)
def test_deadlocked_test_fails_at_once(run, runner: str) -> None:
    """At the line that waits, the error says what each task waits for, and which task holds it."""
    plugins, test = HANGING[runner]
    result = run(dedent(DEADLOCK) + f"\n{test}\n", "--background-tasks-deadlock=error", "--tb=short", plugins=plugins)
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(
        [
            "    async with lock:",
            "E   *DeadlockError: every task is blocked:",
            "E     *waits at test_it.py:* in hang, for a lock held by Task-* (hold)",
            "E     Task-* (hold) waits at test_it.py:* in hold, for an event",
        ]
    )


@pytest.mark.skipif(not list(Path("/proc/self/task").glob("*/children")), reason="children are not listed here")
def test_resource_tracker_process_does_not_hide_a_deadlock(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its resource tracker is a child process that lasts until Python exits; others may still send something."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import asyncio, subprocess, sys
        from multiprocessing.resource_tracker import ensure_running

        import pytest
        from pytest_background_tasks._control.wakeup_sources import _processes

        ensure_running()

        def test_it():
            with pytest.raises(Exception, match="every task is blocked"):
                asyncio.run(wait())

        def test_another_child_process():
            with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
                assert list(_processes()) == ["a child process"]
                child.stdin.close()
            assert not list(_processes())

        async def wait():
            await asyncio.Event().wait()
        """
    )
    options = ("-p", "pytest_background_tasks.plugin", "--background-tasks-deadlock=error")
    pytester.runpytest_subprocess(*options, timeout=20).assert_outcomes(passed=2)


def test_caught_deadlock_error_fails_the_test(run) -> None:
    result = run(
        dedent(DEADLOCK)
        + dedent("""
        async def serve():
            try:
                await hang()
            except Exception:
                pass

        async def test_it():
            await asyncio.create_task(serve())
        """),
        "--background-tasks-deadlock=error",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*DeadlockError: every task is blocked*"])


def test_no_deadlock_error_while_an_external_wakeup_is_possible(run) -> None:
    """It may be a timer, a thread, a process or a peer."""
    result = run(
        """
        import sys, threading

        async def test_timer():
            await asyncio.sleep(0.05)

        async def test_executor():
            await asyncio.to_thread(threading.Event().wait, 0.05)

        async def test_thread():
            loop, event = asyncio.get_running_loop(), asyncio.Event()
            threading.Timer(0.05, loop.call_soon_threadsafe, [event.set]).start()
            await event.wait()

        async def test_process():
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
            assert await process.wait() == 0

        async def test_peer():
            async def answer(reader, writer):
                await asyncio.to_thread(threading.Event().wait, 0.05)
                writer.close()

            server = await asyncio.start_server(answer, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()
            server.close()
        """,
        "--background-tasks-deadlock=error",
        "--background-tasks-unhandled=error",
    )
    result.assert_outcomes(passed=5)


def test_deadlock_on_virtual_time_is_reported_once(run) -> None:
    result = run(
        dedent(DEADLOCK) + "\nasync def test_it(virtual_time): await hang()\n", "--background-tasks-deadlock=error"
    )
    result.assert_outcomes(failed=1)
    errors = [
        line for line in result.outlines if line.startswith("E ") and "DeadlockError: every task is blocked" in line
    ]
    assert len(errors) == 1
