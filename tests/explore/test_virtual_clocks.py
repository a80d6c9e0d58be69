"""While exploring, the clocks of module time follow the virtual time of the loop, in the loop's own thread."""

import asyncio
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

import anyio
import pytest

from pytest_background_tasks import Explorer, NonDeterministicTest

CLOCKS = [
    (lambda: time.time(), 1),
    (lambda: time.time_ns(), 10**9),
    (lambda: time.monotonic(), 1),
    (lambda: monotonic(), 1),
    (lambda: time.monotonic_ns(), 10**9),
    (lambda: time.perf_counter(), 1),
    (lambda: time.perf_counter_ns(), 10**9),
]


@pytest.mark.parametrize(("clock", "second"), CLOCKS)
def test_a_clock_follows_virtual_time(clock: Callable[[], float], second: int) -> None:
    """It begins near the real time, is the same in each run, and is real again afterwards."""
    real = clock()

    async def scenario() -> None:
        before = clock()
        assert 0 <= before - real < 60 * second
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(3600))
        assert clock() - before == pytest.approx(3600 * second)
        await asyncio.gather(*[asyncio.sleep(0) for _ in range(1 + int(clock() * 1000 / second) % 5)])

    assert Explorer().explore(scenario).failure is None
    assert clock() - real < 60 * second


def test_a_cache_that_expires_by_the_clock_is_explored() -> None:
    """Its entries expire when virtual time has passed."""

    async def scenario() -> None:
        expires = time.monotonic() + 30
        await asyncio.sleep(29)
        assert time.monotonic() < expires
        await asyncio.sleep(2)
        assert time.monotonic() > expires

    assert Explorer().explore(scenario).failure is None


def test_a_clock_that_a_library_has_imported_by_name_follows_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like aiohttp's pool of connections, whose timers go by the loop's time: both clocks show the same."""
    library = ModuleType("a_library")
    library.__file__ = str(Path(sysconfig.get_path("purelib"), "a_library.py"))
    source = "from time import monotonic\ndef age(began=None): return monotonic() - (began or 0)"
    exec(compile(source, library.__file__, "exec"), vars(library))
    monkeypatch.setitem(sys.modules, "a_library", library)

    async def scenario() -> None:
        began = library.age()
        assert began == pytest.approx(asyncio.get_running_loop().time(), abs=0.01)
        await asyncio.sleep(3600)
        assert library.age(began) == pytest.approx(3600)

    assert Explorer().explore(scenario).failure is None
    assert library.monotonic is time.monotonic


def test_clocks_that_are_polled_advance() -> None:
    """No two readings are equal, so a program that waits by the clock alone comes to an end."""

    async def scenario() -> None:
        began = time.perf_counter()
        while time.perf_counter() < began + 0.002:
            await asyncio.sleep(0)
        assert time.time() < time.time()

    assert Explorer().explore(scenario).failure is None


def test_code_that_blocks_the_thread_until_a_clock_has_advanced_ends() -> None:
    """Such as a blocking ``put`` with a timeout, in the loop's own thread."""

    async def scenario() -> None:
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            threading.Event().wait(0.05)
        last = time.monotonic()
        await asyncio.sleep(1)
        assert time.monotonic() > last + 1

    assert Explorer(max_deviations=0).explore(scenario).failure is None


def test_libraries_follow_and_the_standard_library_does_not() -> None:
    namespaces: dict[str, dict[str, Any]] = {}
    for file in (anyio.__file__, asyncio.__file__, pytest.__file__):
        namespaces[file] = {"time": time}
        exec(compile("def measure(): return time.time()", file, "exec"), namespaces[file])

    async def scenario() -> None:
        began = [namespace["measure"]() for namespace in namespaces.values()]
        await asyncio.sleep(3600)
        passed = [namespace["measure"]() for namespace in namespaces.values()]
        assert [round((end - start) / 3600) for start, end in zip(began, passed, strict=True)] == [1, 0, 0]

    assert Explorer().explore(scenario).failure is None


def test_other_threads_and_processes_have_real_clocks() -> None:
    differences = []

    def measure() -> None:
        before = time.monotonic()
        threading.Event().wait(0.001)
        differences.append(time.monotonic() - before)

    async def scenario() -> None:
        await asyncio.to_thread(measure)

    assert Explorer().explore(scenario).failure is None
    assert all(0 < each < 60 for each in differences)
    code = "import time; print(time.time())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert abs(float(printed.stdout) - time.time()) < 60


def test_clocks_can_stay_real() -> None:
    async def scenario() -> None:
        began = time.monotonic()
        await asyncio.sleep(3600)
        assert time.monotonic() - began < 60

    assert Explorer(virtual_clocks=False).explore(scenario).failure is None


def test_a_clock_that_a_test_has_frozen_stays_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """freezegun replaces the functions, before or in the scenario."""

    async def scenario() -> None:
        with pytest.MonkeyPatch.context() as inside:
            inside.setattr(time, "time", lambda: 7.0)
            await asyncio.sleep(60)
            assert time.time() == 7
        assert time.time() > 7

    assert Explorer().explore(scenario).failure is None
    monkeypatch.setattr(time, "time", lambda: 5.0)

    async def frozen() -> None:
        await asyncio.sleep(60)
        assert time.time() == 5

    assert Explorer().explore(frozen).failure is None


def test_real_clocks_are_named_if_runs_differ() -> None:
    async def scenario() -> None:
        await asyncio.gather(*[asyncio.sleep(0) for _ in range(1 + time.monotonic_ns() % 5)])

    with pytest.raises(NonDeterministicTest, match=r"time\.monotonic_ns\(\)"):
        for _ in range(50):
            Explorer(virtual_clocks=False).explore(scenario)
