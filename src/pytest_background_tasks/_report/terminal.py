"""The section of a failure's report: the deviations, the table, the conditions, and the line that replays it."""

from __future__ import annotations

from collections.abc import Iterator

from .._explore.result import Exploration, Failure
from .._introspect.location import shown_file
from .layout import Row, Span, Tone, fitted, wrapped
from .line_numbers import file_of
from .model import DeviationView, FailureView, failure_view
from .side_by_side import side_by_side
from .table import table
from .wording import conditions, headline, path, sentence

_BASELINE_FAILS = "This test fails in asyncio's default order: no deviation was needed, and no other order was tried."
_RANDOM = "Each run drew the same random numbers, since runs differed without that."


def section(exploration: Exploration, replay: str, width: int) -> list[Row]:
    """Return the rows of the section.

    Args:
        exploration: a failed one.
        replay: the command that replays the failure.
        width: the width of the terminal in cells, which the rows of tables do not exceed.
    """
    failure = exploration.failure
    assert failure is not None
    view = failure_view(failure)
    paragraphs: list[list[Row]] = [
        *(_deviating(failure, view, width) if failure.schedule else _baseline(view, width)),
        *([_text(_RANDOM, width)] if exploration.depends_on_random else ()),
        *_libraries(view, width),
        [row for line in f"{_origin(failure)}; verdict: failed.".split("\n") for row in _text(line, width)],
        [(Span(f"replay:  {replay}"),)],
    ]
    return [row for rows in paragraphs for row in [*rows, ()]][:-1]


def _origin(failure: Failure) -> str:
    if failure.found_by == "replay":
        return "This was a replay of one schedule"
    if not failure.schedule:
        return f"Found in run {failure.run_number}"
    found = "Found" if failure.found_by == "search" else "This schedule failed last time and was tried first.\nFound"
    return f"{found} in run {failure.run_number}, minimized and confirmed by a second run"


def _baseline(view: FailureView, width: int) -> Iterator[list[Row]]:
    yield _text(_BASELINE_FAILS, width)
    yield _table(view, width)


def _deviating(failure: Failure, view: FailureView, width: int) -> Iterator[list[Row]]:
    yield [
        *_text(headline(view.failing.deviations), width),
        *(row for each in view.failing.deviations for row in _deviation(each, width)),
    ]
    yield _table(view, width)
    if rows := side_by_side(view, width):
        yield rows
    for paragraph in conditions(view.failing.deviations, failure.arrivals):
        yield [
            row
            for line in paragraph.split("\n")
            for row in ([(Span(line),)] if line.startswith(" ") else _text(line, width))
        ]


def _libraries(view: FailureView, width: int) -> Iterator[list[Row]]:
    """Yield the option that shows the lines of the libraries in which the tasks of a failure are suspended."""
    if packages := view.libraries:
        yield [
            *_text(f"Lines of {' and '.join(packages)} are not shown. To see them, add to the replay line:", width),
            (Span(f'    -o "background_tasks_project_packages={" ".join(packages)}"'),),
        ]


def _deviation(view: DeviationView, width: int) -> list[Row]:
    code = [fitted([Span(f"        {view.code}")], width)] if view.code else []
    lines = _text(path(view), width, " " * 8, "muted") if view.path else []
    return [*_text(sentence(view), width, "  ! ", "deviates"), *code, *lines]


def _table(view: FailureView, width: int) -> list[Row]:
    file = file_of(view.failing)
    title = f"What happened, with lines of {shown_file(file)}:" if file else "What happened:"
    return [*_text(title, width), *table(view, width)]


def _text(text: str, width: int, sign: str = "", tone: Tone = "") -> list[Row]:
    lines = wrapped(text, max(width, 40) - len(sign))
    return [(Span((sign if number == 0 else " " * len(sign)) + line, tone),) for number, line in enumerate(lines)]
