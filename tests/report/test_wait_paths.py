"""Where a task waits in what another function has entered, the failure names the line that waits and the path."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from pytest_background_tasks import Explorer
from pytest_background_tasks._introspect.project_code import ProjectCode
from pytest_background_tasks._report.html import page
from pytest_background_tasks._report.layout import plain
from pytest_background_tasks._report.model import failure_view
from pytest_background_tasks._report.terminal import section

done: list[int] = []


async def work() -> None:
    await asyncio.sleep(0.01)
    done.append(1)


class OnExit:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None:
        await work()


@asynccontextmanager
async def with_finally() -> AsyncIterator[None]:
    try:
        yield
    finally:
        await work()


async def generate() -> AsyncIterator[int]:
    await work()
    yield 1


def decorated(function: Callable[[], Any]) -> Callable[[], Any]:
    @wraps(function)
    async def wrapper() -> None:
        await function()

    return wrapper


async def in_aexit() -> None:
    async with OnExit():
        pass


async def in_finally() -> None:
    async with with_finally():
        pass


async def in_for() -> None:
    async for _ in generate():
        pass


async def in_comprehension() -> None:
    [each async for each in generate()]


async def in_decorator() -> None:
    await decorated(work)()


@pytest.mark.parametrize(
    ("job", "line", "path"),
    [
        (in_aexit, (OnExit.__aexit__, 1), [(in_aexit, 1), (OnExit.__aexit__, 1), (work, 1)]),
        (in_finally, (with_finally, 4), [(in_finally, 1), (with_finally, 4), (work, 1)]),
        (in_for, (generate, 1), [(in_for, 1), (generate, 1), (work, 1)]),
        (in_comprehension, (generate, 1), [(in_comprehension, 1), (generate, 1), (work, 1)]),
        (in_decorator, (in_decorator, 1), [(in_decorator, 1), (decorated, 3), (work, 1)]),
    ],
)
def test_report_names_the_waiting_line_and_the_path_to_it(job: Any, line: Any, path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(Path(__file__).parent)

    async def scenario() -> None:
        done.clear()
        await asyncio.wait([asyncio.create_task(job(), name="job")])
        assert done

    exploration = Explorer(faults="cancel:job", is_project_file=ProjectCode(Path(__file__).parent)).explore(scenario)
    failure = exploration.failure
    assert failure is not None
    shown = plain(section(exploration, "pytest", 200))
    number = number_of(*line)
    assert f"at test_wait_paths.py:{number}\n        await " in shown
    assert f"        path: {', '.join(f'{number_of(*each)} in {name_of(each[0])}' for each in path)}\n" in shown
    assert f"\n  {number}" in shown  # the row of the table
    html = page(failure_view(failure), title="", error="", text="", replay="", sources={})
    assert f'"path":"path: {number_of(*path[0])} in ' in html


def number_of(function: Any, offset: int) -> int:
    code = getattr(function, "__wrapped__", function).__code__
    lines = Path(__file__).read_text().splitlines()
    first: int = code.co_firstlineno
    while "def " not in lines[first - 1]:
        first += 1
    return first + offset


def name_of(function: Any) -> str:
    return "wrapper" if function is decorated else function.__qualname__
