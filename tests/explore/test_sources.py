"""If a test is not deterministic, the error names the values that differ in every run and the line that reads them."""

import asyncio
import datetime
import itertools
import logging
import os
import secrets
import time
import uuid
from collections.abc import Callable

import pytest

from pytest_background_tasks import Explorer, NonDeterministicTest

READ: dict[str, Callable[[], object]] = {
    "time.time()": time.time,
    "time.monotonic()": time.monotonic,
    "time.perf_counter_ns()": time.perf_counter_ns,
    "datetime.now()": lambda: datetime.datetime.now(tz=datetime.UTC),
    "date.today()": lambda: datetime.date.today(),
    "id()": lambda: id(object()),
    "os.urandom()": lambda: os.urandom(8),
}
HANDED_ON: list[Callable[[], object]] = [uuid.uuid4, lambda: secrets.token_hex(4)]


def refused(read: Callable[[], object]) -> str:
    counter = itertools.count(1)

    async def scenario() -> None:
        read()
        await asyncio.sleep(next(counter))

    with pytest.raises(NonDeterministicTest) as caught:
        Explorer().explore(scenario)
    return str(caught.value)


@pytest.mark.parametrize("name", READ)
def test_what_was_read_is_named_with_its_line(name: str) -> None:
    read = READ[name]
    text = refused(lambda: read())
    assert f"\nIt reads values that differ in every run:\n  {name} at tests/explore/test_sources.py:" in text


@pytest.mark.parametrize("read", HANDED_ON)
def test_what_a_module_of_python_hands_on_is_named_by_the_line_that_asks_it(read: Callable[[], object]) -> None:
    assert "\n  os.urandom() at tests/explore/test_sources.py:" in refused(lambda: read())


def test_what_a_library_reads_for_itself_is_no_reason() -> None:
    """A log record contains a time, on which no code depends."""
    log = logging.getLogger("of the test")
    log.addHandler(logging.NullHandler())
    assert "It reads" not in refused(lambda: log.warning("here"))


def test_how_the_runs_end_is_told_if_one_fails() -> None:
    counter = itertools.count()

    async def scenario() -> None:
        await asyncio.sleep(0)
        if next(counter) % 2:
            raise KeyError("gone")

    with pytest.raises(NonDeterministicTest) as caught:
        Explorer().explore(scenario)
    assert "\nThe first run fails: KeyError: 'gone'\nThe second run passes" in str(caught.value)


def test_a_scenario_that_polls_a_clock_is_told_of_it() -> None:
    async def scenario() -> None:
        until = time.monotonic() + 0.002
        while time.monotonic() < until:
            await asyncio.sleep(0)

    with pytest.raises(NonDeterministicTest, match=r"time\.monotonic\(\) at tests/explore/test_sources\.py:\d+ in "):
        Explorer(max_steps=10**7).explore(scenario)
