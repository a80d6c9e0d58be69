"""The clocks of module time follow virtual time in project code if a test requests it, and only there."""

import asyncio
import time
from collections.abc import Callable
from textwrap import dedent
from time import monotonic, perf_counter_ns
from time import perf_counter as counter

import anyio
import pytest

from pytest_background_tasks import VirtualTime

CLOCKS = [
    (lambda: time.monotonic(), 1),
    (lambda: monotonic(), 1),
    (lambda: time.monotonic_ns(), 10**9),
    (lambda: time.perf_counter(), 1),
    (lambda: counter(), 1),
    (lambda: perf_counter_ns(), 10**9),
]


@pytest.mark.parametrize(("clock", "second"), CLOCKS)
async def test_a_clock_follows_virtual_time(virtual_time: VirtualTime, clock: Callable[[], float], second: int) -> None:
    """However the clock was imported, it does not go backwards, and begins at the time of the real one."""
    real = clock()
    virtual_time.patch_monotonic()
    before = clock()
    await asyncio.sleep(3600)
    assert clock() - before == 3600 * second
    assert 0 <= before - real < 60 * second


async def test_monotonic_is_the_time_of_the_loop(virtual_time: VirtualTime) -> None:
    virtual_time.patch_monotonic()
    await asyncio.sleep(0.3)
    assert time.monotonic() == asyncio.get_running_loop().time()


async def test_libraries_keep_the_real_clocks(virtual_time: VirtualTime) -> None:
    """Another package measures real time."""
    namespace = {"time": time, "__name__": "other"}
    library = compile("def measure(): return time.monotonic()", anyio.__file__, "exec")
    exec(library, namespace)
    virtual_time.patch_monotonic()
    await asyncio.sleep(3600)
    assert time.monotonic() - namespace["measure"]() > 3000


async def test_patch_monotonic_is_idempotent(virtual_time: VirtualTime) -> None:
    virtual_time.patch_monotonic()
    virtual_time.patch_monotonic()
    before = time.monotonic()
    await asyncio.sleep(1)
    assert time.monotonic() - before == 1


def test_clocks_are_real_until_a_loop_has_run(virtual_time: VirtualTime) -> None:
    virtual_time.patch_monotonic()
    before = time.monotonic()
    asyncio.run(asyncio.sleep(10))
    assert time.monotonic() - before >= 10


def run(pytester: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(test_it=dedent(source))
    mode = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function", "-p", "no:randomly")
    return pytester.runpytest_inprocess(*mode, *arguments)


def test_clocks_are_restored_after_the_test(pytester: pytest.Pytester) -> None:
    """After the test, every name has the interpreter's clock again; the fixture says that the test has ended."""
    result = run(
        pytester,
        """
        import asyncio, time
        from time import perf_counter as counter
        import pytest

        before = time.monotonic, time.perf_counter, time.monotonic_ns, time.perf_counter_ns, counter
        kept = []

        async def test_patched(virtual_time):
            virtual_time.patch_monotonic()
            kept.append(virtual_time)
            assert time.monotonic is not before[0] and counter is not before[4]

        def test_after():
            assert (time.monotonic, time.perf_counter, time.monotonic_ns, time.perf_counter_ns, counter) == before
            with pytest.raises(Exception, match="test_patched was used after that test had ended"):
                kept[0].patch_monotonic()
        """,
    )
    result.assert_outcomes(passed=2)


POLLING = """
    import asyncio, time

    async def poll(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(0.5)

    async def test_it(virtual_time):
        await poll(1.5)
        {}
"""


def test_polling_a_real_clock_is_reported(pytester: pytest.Pytester) -> None:
    """The report is a warning at the line that sleeps, and a section of the report if the test fails."""
    result = run(pytester, POLLING.format("pass"), "-W", "default")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*test_it.py:6: BackgroundTaskWarning: poll sleeps repeatedly and reads time.monotonic() or "
            "time.perf_counter(), which do not follow virtual time*virtual_time.patch_monotonic()"
        ]
    )
    result = run(pytester, POLLING.format("assert virtual_time.now < 2"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Captured background_tasks call*", "poll sleeps repeatedly*"])


def test_polling_a_virtual_clock_takes_no_real_time(pytester: pytest.Pytester) -> None:
    source = POLLING.format("assert virtual_time.now == 1.5").replace(
        "await poll", "virtual_time.patch_monotonic(); await poll"
    )
    run(pytester, source, "-W", "error").assert_outcomes(passed=1)
