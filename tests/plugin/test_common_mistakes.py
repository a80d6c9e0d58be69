"""The usual first mistakes with ``@explore``, as pytest shows them."""

import re

import pytest


def test_runs_ended_by_a_cancellation_are_counted_but_do_not_fail(run) -> None:
    """gather() forwards the cancellation of a client to the test, which is correct."""
    result = run(
        """
        @explore(faults="cancel:client*")
        async def test_it():
            async def client():
                await asyncio.sleep(1)

            await asyncio.gather(client(), client())
        """
    )
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [r".* [1-9]\d* cut short by the cancellation \(gather\(\.\.\., return_exceptions=True"]
    )


def test_report_names_a_delayed_task_start(run) -> None:
    """The test passes without the kind of arrival that the text names."""
    source = """
        @explore(arrivals=[ARRIVALS])
        async def test_it():
            started = []

            async def server():
                started.append(True)

            asyncio.create_task(server())
            await asyncio.sleep(0)
            assert started
    """
    result = run(source.replace("ARRIVALS", "'start', 'yield', 'timer'"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*server starts *late*", "*'start' *a task that the test starts*"])
    assert "    arrivals=['yield', 'timer']\n    --explore-arrivals='yield timer'\n" in result.stdout.str()
    run(source.replace("ARRIVALS", "'yield', 'timer'")).assert_outcomes(passed=1)


def test_waiters_of_one_event_resume_in_the_same_iteration(run) -> None:
    """One set() wakes tasks in asyncio's order: no external event can come between."""
    run(
        """
        @explore(max_deviations=3)
        async def test_it():
            event, seen, number = asyncio.Event(), [], 0

            async def wait():
                await event.wait()
                seen.append(number)

            async def count():
                nonlocal number
                for number in range(3):
                    await asyncio.sleep(0)
                    if number == 1:
                        event.set()

            await asyncio.gather(wait(), wait(), count())
            assert len(set(seen)) == 1
        """
    ).assert_outcomes(passed=1)


def test_cache_filled_in_the_first_run_is_not_deterministic(run) -> None:
    result = run(
        """
        cache = {}

        @explore
        async def test_it():
            if "settings" not in cache:
                await asyncio.sleep(0)
                cache["settings"] = 1
            await asyncio.sleep(0)
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E*NonDeterministicTest: the test is not deterministic: the first run and the next differ *"]
    )


@pytest.mark.parametrize("args", [(), ("-n1",)])
def test_output_of_the_failing_run_alone_is_shown(run, args: tuple[str, ...]) -> None:
    """Standard output, standard error and the log are those of the failing run, whichever it was."""
    result = run(
        """
        import logging, sys

        @explore(max_deviations=4)
        async def test_it():
            order = []

            async def client(name):
                for step in range(3):
                    await asyncio.sleep(0)
                    order.append(name)

            await asyncio.gather(*map(client, "abc"))
            print("printed", "".join(order))
            print("complained", "".join(order), file=sys.stderr)
            logging.warning("logged %s", "".join(order))
            assert order != list("cccbbbaaa")
        """,
        *args,
        plugins=("xdist",) if args else (),
    )
    result.assert_outcomes(failed=1)
    runs = int(next(line for line in result.outlines if line.startswith("Found in run ")).split()[3].strip(","))
    assert runs > 100
    for word in ("printed", "complained", "logged"):
        lines = [line for line in result.outlines if re.search(f"{word} [abc]+$", line)]
        assert [line.rpartition(" ")[2] for line in lines] == ["cccbbbaaa"]


@pytest.mark.parametrize("waiting", ["asyncio.timeout(1)", "anyio.fail_after(1)", "contextlib.nullcontext()"])
def test_aiosqlites_thread_is_named_instead_of_a_deadlock_or_timeout(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, waiting: str
) -> None:
    """The connection is closed, so that nothing fails later, in another test.

    A caller that gives up while aiosqlite 0.22 connects leaves the database open; Python 3.13 and later warns about it.
    """
    pytest.importorskip("aiosqlite")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    enter = "async with" if "asyncio" in waiting else "with"
    pytester.makepyfile(
        f"""
        import asyncio, contextlib, threading
        import aiosqlite, anyio
        from pytest_background_tasks import explore

        @explore
        async def test_it():
            async with aiosqlite.connect(":memory:") as db:
                {enter} {waiting}:
                    await db.execute("select 1")

        def test_no_thread_is_left():
            for thread in set(threading.enumerate()) - {{threading.main_thread()}}:
                thread.join(5)
                assert not thread.is_alive()
        """
    )
    strict = ("-W", "error", "-W", "ignore:unclosed database:ResourceWarning")
    result = pytester.runpytest_subprocess("-p", "pytest_background_tasks.plugin", *strict)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*UncontrolledOperation: *a thread that an exploration cannot control: *worker*, of aiosqlite",
            "*main waits at *test_aiosqlites*.py:7 in test_it, for a future",
        ]
    )


def test_numpys_random_numbers_are_the_same_in_every_run(run) -> None:
    pytest.importorskip("numpy")
    result = run(
        """
        import random, uuid
        import numpy

        seen = set()

        @explore
        async def test_it():
            await twice()
            seen.add((numpy.random.random(), random.random()))
            uuid.uuid4()

        def test_afterwards():
            assert len(seen) == 1
        """
    )
    result.assert_outcomes(passed=2)
