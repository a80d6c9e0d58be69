"""What was run, as statements: what a reader of an interleaving looks for, and no more."""

import ast
import asyncio
import gc
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_background_tasks import Explorer, Schedule
from pytest_background_tasks._introspect.location import SourceLocation
from pytest_background_tasks._introspect.project_code import ProjectCode
from pytest_background_tasks._report.model import RunView, run_view
from pytest_background_tasks._report.source import Line, abbreviated, statement


def reported(scenario: Callable[[], Coroutine[Any, Any, Any]]) -> RunView:
    """The report of a run in asyncio's own order; the scenario must fail for it to be reported."""
    failure = Explorer(replay=Schedule(), is_project_file=ProjectCode(Path(__file__).parent)).explore(scenario).failure
    assert failure is not None
    return run_view(failure.trace)


def statements_of(scenario: Callable[[], Coroutine[Any, Any, Any]]) -> list[list[str]]:
    """The statements of each step."""
    return [[line.text for line in step.lines] for step in reported(scenario).steps if step.is_step]


async def io() -> int:
    await asyncio.sleep(0)
    return 1


def test_statement_that_uses_an_awaited_result_is_shown_again() -> None:
    async def scenario() -> None:
        state = SimpleNamespace()
        await io()
        state.value = await io()
        raise KeyError

    assert statements_of(scenario) == [
        ["state = SimpleNamespace()", "await io()"],
        ["state.value = await io()"],
        ["… state.value = await io()", "raise KeyError"],
    ]


def test_source_is_parsed_despite_a_reentrant_garbage_collection(tmp_path: Path) -> None:
    """As a task that has failed: the traceback of its error is printed, and for its carets the source is parsed."""
    file = tmp_path / "program.py"
    file.write_text("a = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]\n" * 200)

    def find(*_: object, deep: int = 20) -> None:
        find(deep=deep - 1) if deep else ast.parse("[[1]]")

    usual = gc.get_threshold()
    gc.callbacks.append(find)
    gc.set_threshold(10)
    try:
        assert statement(str(file), 7).kind == "Assign"
    finally:
        gc.set_threshold(*usual)
        gc.callbacks.remove(find)


def test_uninformative_lines_are_omitted() -> None:
    """Definitions, the end of a block, plain returns, a loop that goes round, a function that does nothing but wait."""

    async def scenario() -> None:
        """A docstring."""
        import sys  # noqa: F401

        def plain() -> int:
            return one

        one = 1
        try:
            for _ in range(2):
                pass
        finally:
            async with asyncio.Lock():
                plain()
        await io()
        raise KeyError

    assert statements_of(scenario) == [
        ["one = 1", "for _ in range(2):", "async with asyncio.Lock():", "plain()", "await io()"],
        ["raise KeyError"],
    ]


def test_multiline_statement_is_shown_once() -> None:
    async def scenario() -> None:
        values = [
            str(number)
            for number in range(3)
        ]  # fmt: skip
        if (
            values
            and len(values) > 1
        ):  # fmt: skip
            raise KeyError

    assert statements_of(scenario) == [["values = [ …", "if ( …", "raise KeyError"]]


def test_cancelled_wait_has_no_result() -> None:
    async def scenario() -> None:
        async def job() -> None:
            answer = await io()
            hash(answer)

        task = asyncio.create_task(job())
        await asyncio.sleep(0)
        task.cancel()
        await task

    assert statements_of(scenario)[1] == ["answer = await io()"]
    assert ["… answer = await io()"] not in statements_of(scenario)


def test_repr_methods_are_not_shown() -> None:
    class Shown:
        def __repr__(self) -> str:
            text = "shown"
            return text.upper()

    async def scenario() -> None:
        shown = Shown()
        raise KeyError(repr(shown))

    assert statements_of(scenario) == [["shown = Shown()", "raise KeyError(repr(shown))"]]


def test_unparsable_source_is_shown_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("def f(:\n    here\n")
    assert statement(str(file), 2)[2:4] == ("here", "")
    assert statement(str(tmp_path / "none.py"), 2)[2:4] == ("", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("wait()            # for it", "wait()  # for it"),
        ("a; b", "a; b"),
        ("x = '''\n1'''", "x = ''' …"),
    ],
)
def test_the_text_of_a_statement(tmp_path: Path, text: str, shown: str) -> None:
    file = tmp_path / "source.py"
    file.write_text(text)
    assert statement(str(file), 1).text == shown


@pytest.mark.parametrize(
    ("deep", "shown"),
    [
        ([0] * 8, [*range(8)]),
        ([0, 1, 1, 2, 2, 2, 1, 1, 0, 0], [0, 1, 2, 6, 7, 8, 9]),
        ([0] * 20, [0, 1, 2, None, 16, 17, 18, 19]),
    ],
    ids=["all", "outer lines", "first and last lines"],
)
def test_lines_of_a_long_step_are_abbreviated(deep: list[int], shown: list[Any]) -> None:
    lines = tuple(Line(SourceLocation("a.py", number, "f"), str(number), deep) for number, deep in enumerate(deep))
    assert [line and line.site.line for line, _ in abbreviated(lines, "a.py")] == shown
