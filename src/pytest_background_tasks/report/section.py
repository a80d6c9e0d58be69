"""What stands below the assertion of an explored test that failed: what was different, and how to see it again."""

from __future__ import annotations

from collections.abc import Iterator

from ..explorer.exploration import Exploration, Failure
from ..sites import shown_file
from .sentences import conditions, libraries_of
from .side_by_side import side_by_side
from .story import Difference, Failing, failing
from .table import file_of, table
from .text import Row, Span, Tone, filled, fitted

_USUAL = """\
This test fails in asyncio's usual order: nothing had to come late, and other orders were not tried."""


def section(exploration: Exploration, replay: str, width: int) -> list[Row]:
    """The rows of the section, of which those of the tables have at most `width` cells.

    Args:
        exploration: a failed one.
        replay: what to type to see the failure again.
        width: of the terminal.
    """
    failure = exploration.failure
    assert failure is not None
    told = failing(failure)
    paragraphs: list[list[Row]] = [
        *(_deviating(failure, told, width) if failure.schedule else _usual(told, width)),
        *_libraries(failure, width),
        [row for line in f"{_found(failure)}; verdict: failed.".split("\n") for row in _text(line, width)],
        [(Span(f"replay:  {replay}"),)],
    ]
    return [row for rows in paragraphs for row in [*rows, ()]][:-1]


def _found(failure: Failure) -> str:
    if failure.found == "replay":
        return "This was a replay of one schedule"
    if not failure.schedule:
        return f"Found in run {failure.run}"
    how = "Found" if failure.found == "search" else "This schedule failed last time and was tried first.\nFound"
    return f"{how} in run {failure.run}, made as small as possible, and played again to be sure"


def _usual(told: Failing, width: int) -> Iterator[list[Row]]:
    yield _text(_USUAL, width)
    yield _table(told, width)


def _deviating(failure: Failure, told: Failing, width: int) -> Iterator[list[Row]]:
    number = "one thing is" if len(failure.schedule) == 1 else f"{len(failure.schedule)} things are"
    yield [
        *_text(f"This test passes in asyncio's usual order. It fails when {number} different:", width),
        *(row for each in told.here.differences for row in _difference(each, width)),
    ]
    yield _table(told, width)
    if rows := side_by_side(told, width):
        yield rows
    for paragraph in conditions(failure.schedule, failure.trace, failure.arrivals):
        yield [
            row
            for line in paragraph.split("\n")
            for row in ([(Span(line),)] if line.startswith(" ") else _text(line, width))
        ]


def _libraries(failure: Failure, width: int) -> Iterator[list[Row]]:
    """How to see the lines of the libraries in which somebody who matters waits."""
    if packages := libraries_of(failure):
        yield [
            *_text(f"Lines of {' and '.join(packages)} are not shown. To see them, add to the replay line:", width),
            (Span(f'    -o "background_tasks_packages={" ".join(packages)}"'),),
        ]


def _difference(difference: Difference, width: int) -> list[Row]:
    code = [fitted([Span(f"        {difference.code}")], width)] if difference.code else []
    path = _text(difference.path, width, " " * 8, "aside") if difference.path else []
    return [*_text(difference.sentence, width, "  ! ", "differs"), *code, *path]


def _table(told: Failing, width: int) -> list[Row]:
    file = file_of(told.here)
    title = f"What happened, with lines of {shown_file(file)}:" if file else "What happened:"
    return [*_text(title, width), *table(told, width)]


def _text(text: str, width: int, sign: str = "", tone: Tone = "") -> list[Row]:
    lines = filled(text, max(width, 40) - len(sign))
    return [(Span((sign if number == 0 else " " * len(sign)) + line, tone),) for number, line in enumerate(lines)]
