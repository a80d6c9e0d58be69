"""Asyncio's own order beside the failing one, from where they part: who runs when, by numbers of lines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, zip_longest

from .focus import columns_of, does_something, until_the_end
from .story import Failing, Moment, Story
from .table import file_of, name_of, numbers_of, room_for_columns
from .text import Row, Span, fitted, harmless, padded, width_of

_MOST = 12  # rows


def side_by_side(failing: Failing, width: int) -> list[Row]:
    """Rows of at most `width` cells; none if the orders do not part."""
    if failing.usual is None or failing.parting is None:
        return []
    file = file_of(failing.here)
    columns = columns_of(failing, room_for_columns(width))
    left, right = (list(_steps(story, failing.parting, columns, file)) for story in (failing.usual, failing.here))
    if not left or not right:
        return []
    half = min(max(width_of(harmless(text)) for text in ["usually", *left[:_MOST]]), (width - 6) // 2)
    rows = [fitted([Span("Side by side from there on, by numbers of lines:")], width)]
    rows.append(fitted([Span("  "), Span(padded("usually", half), "name"), Span("  here", "name")], width))
    for one, other in list(zip_longest(left, right, fillvalue=""))[:_MOST]:
        rows.append(fitted([Span("  "), Span(padded(harmless(one), half)), Span("  " + other)], width))
    if max(len(left), len(right)) > _MOST:
        rows.append(fitted([Span("  …", "aside")], width))
    return rows


def _steps(story: Story, start: int, columns: list[str], file: str) -> Iterator[str]:
    steps = (
        _step(moment, file)
        for moment in until_the_end(story).moments[start:]
        if does_something(moment) and (moment.lane in columns or moment.fails)
    )
    for step, same in groupby(steps):
        count = len(list(same))
        yield step if count == 1 else f"{step}, {count} times"


def _step(moment: Moment, file: str) -> str:
    what = numbers_of(moment.ran, file) if moment.ran else moment.end or moment.what
    end = f", {moment.end}" if moment.ran and moment.fails else ""
    return f"{name_of(moment.lane)}  {what}{end}"
