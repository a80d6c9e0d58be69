"""The cost of a round trip on a network in memory, compared with the kernel's: `python benchmarks/network.py`.

The same programs, asyncio's streams and aiohttp, run on real loopback sockets, on those of the fixture
`virtual_network`, in an explored run (which also records each step), and on async-solipsism's, alternately.
"""

import asyncio
import gc
import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import async_solipsism

from pytest_background_tasks import Schedule
from pytest_background_tasks._explore.determinism import DeterministicProcess
from pytest_background_tasks._explore.execution import execute, playing
from pytest_background_tasks._explore.helper_thread import HelperThread
from pytest_background_tasks._explore.options import Options
from pytest_background_tasks._introspect import real_clock
from pytest_background_tasks.virtual_network import virtual_network_of_test

ROUND_TRIPS = 2000
REPETITIONS = 9

Program = Callable[[], Coroutine[Any, Any, None]]
seconds: list[float] = []  # of the last run, without setting up and tearing down


@contextmanager
def measured() -> Iterator[None]:
    gc.collect()
    start = real_clock.monotonic()  # explored programs have virtual clocks
    yield
    seconds.append(real_clock.monotonic() - start)


async def streams() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 8765)
    reader, writer = await asyncio.open_connection("127.0.0.1", 8765)
    with measured():
        for _ in range(ROUND_TRIPS):
            writer.write(b"hello")
            await reader.readexactly(5)
    writer.close()
    server.close()
    await asyncio.sleep(0.01)


def on_loopback(program: Program) -> None:
    asyncio.run(program())


def on_virtual_network(program: Program) -> None:
    with virtual_network_of_test():
        asyncio.run(program())


def explored(program: Program) -> None:
    with HelperThread() as helper, DeterministicProcess(may_raise=False) as process:
        process.refresh()
        run = execute(playing(program), Schedule(), Options(arrivals="network", max_steps=10**6), helper)
        assert run.error is None, run.error


def on_solipsism(program: Program) -> None:
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(program())


WAYS = {
    "loopback sockets": on_loopback,
    "virtual_network": on_virtual_network,
    "explored": explored,
    f"async-solipsism {importlib.metadata.version('async-solipsism')}": on_solipsism,
}


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for repetition in range(REPETITIONS + 1):
        for name, run in WAYS.items():
            seconds.clear()
            run(streams)
            if repetition:  # the first one is a warm-up
                times[name] += seconds
    kernel = times["loopback sockets"]
    print(f"a round trip of 5 bytes, CPython {platform.python_version()}, median of {REPETITIONS}:")
    for name, each in times.items():
        ratios = [one / other for one, other in zip(each, kernel, strict=True)]
        microseconds = statistics.median(each) / ROUND_TRIPS * 1e6
        print(f"  {name:24} {microseconds:6.1f} us  {statistics.median(ratios):5.2f} times loopback sockets")


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    print(f"({time.perf_counter() - start:.0f} s)")
