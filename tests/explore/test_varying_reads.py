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

SOURCES: dict[str, Callable[[], object]] = {
    "time.time()": time.time,
    "time.monotonic()": time.monotonic,
    "time.perf_counter_ns()": time.perf_counter_ns,
    "datetime.now()": lambda: datetime.datetime.now(tz=datetime.UTC),
    "date.today()": lambda: datetime.date.today(),
    "id()": lambda: id(object()),
    "os.urandom()": lambda: os.urandom(8),
}
INDIRECT_SOURCES: list[Callable[[], object]] = [uuid.uuid4, lambda: secrets.token_hex(4)]


def error_text(read: Callable[[], object], *, virtual_clocks: bool = False) -> str:
    counter = itertools.count(1)

    async def scenario() -> None:
        read()
        await asyncio.sleep(next(counter))

    with pytest.raises(NonDeterministicTest) as caught:
        Explorer(virtual_clocks=virtual_clocks).explore(scenario)
    return str(caught.value)


@pytest.mark.parametrize("name", SOURCES)
def test_nondeterministic_value_is_named_with_its_line(name: str) -> None:
    read = SOURCES[name]
    text = error_text(lambda: read())
    assert f"\nIt reads values that differ in every run:\n  {name} at tests/explore/test_varying_reads.py:" in text


@pytest.mark.parametrize("read", INDIRECT_SOURCES)
def test_value_from_the_standard_library_is_named_with_the_calling_line(read: Callable[[], object]) -> None:
    assert "\n  os.urandom() at tests/explore/test_varying_reads.py:" in error_text(lambda: read())


def test_date_that_follows_virtual_time_is_not_named() -> None:
    assert "It reads" not in error_text(lambda: (datetime.datetime.now(), datetime.date.today()), virtual_clocks=True)


def test_values_used_only_inside_a_library_are_not_named() -> None:
    """A log record contains a time, on which no code depends."""
    log = logging.getLogger("of the test")
    log.addHandler(logging.NullHandler())
    assert "It reads" not in error_text(lambda: log.warning("here"))


def test_error_reports_how_both_runs_end_if_one_fails() -> None:
    counter = itertools.count()

    async def scenario() -> None:
        await asyncio.sleep(0)
        if next(counter) % 2:
            raise KeyError("gone")

    with pytest.raises(NonDeterministicTest) as caught:
        Explorer().explore(scenario)
    assert "\nThe first run fails: KeyError: 'gone'\nThe second run passes" in str(caught.value)


def test_error_names_a_clock_that_the_scenario_polls() -> None:
    async def scenario() -> None:
        until = time.monotonic() + 0.002
        while time.monotonic() < until:
            await asyncio.sleep(0)

    with pytest.raises(
        NonDeterministicTest, match=r"time\.monotonic\(\) at tests/explore/test_varying_reads\.py:\d+ in "
    ):
        Explorer(max_steps=10**7, virtual_clocks=False).explore(scenario)
