"""A failure as a table: a column for each task that explains it, and in the columns the lines that were executed.

A row belongs to one column, so its text may extend over those to the right of it, and is rarely cut.
"""

from __future__ import annotations

from typing import NamedTuple

from .columns import columns_of
from .layout import Row, Span, Tone, elided, escaped, fitted, short_name, width_of
from .model import FailureView
from .narrative import Entry, narrative

_LEAST = 22  # cells of a column, on average
_NARROW = 16  # cells of a column that leaves room to the last one, whose text cannot extend over another
_GUTTER, _GAP = 2, 2  # cells before the columns, and between them


def table(view: FailureView, width: int) -> list[Row]:
    """Return the failing order in rows of at most `width` cells."""
    columns = columns_of(view, most_columns(width))
    entries = list(narrative(view, columns))
    starts = _starts(columns, entries, width)
    header = [
        _row(_headings(starts, columns, width), width),
        _row([_Piece(start, "-" * (_NARROW - 1), "muted") for start in starts], width),
    ]
    rows = header if columns else []
    for column, text, tone in entries:
        sign = [_Piece(0, "!", tone)] if tone == "deviates" else []
        rows.append(_row([*sign, _Piece(_GUTTER if column is None else starts[column], text, tone)], width))
    return rows


def most_columns(width: int) -> int:
    """Return the number of columns that `width` cells have room for."""
    return max((width - _GUTTER + _GAP) // (_LEAST + _GAP), 1)


def _starts(columns: list[str], entries: list[Entry], width: int) -> list[int]:
    """Return the cell at which each column begins. A column is as wide as its texts if there is room."""
    names = [width_of(short_name(task)) for task in columns]
    widths = list(names)
    for column, text, _ in entries:
        if column is not None:
            widths[column] = max(widths[column], width_of(escaped(text)))
    room = width - _GUTTER - _GAP * (len(widths) - 1)
    least = [min(max(name, _NARROW), max(_LEAST, room // (len(names) + 1))) for name in names]
    while sum(widths) > room:
        wide = [number for number in range(len(widths) - 1) if widths[number] > least[number]]
        if not wide:
            break
        widths[max(wide, key=lambda number: widths[number])] -= 1
    return [_GUTTER + sum(widths[:number]) + _GAP * number for number in range(len(widths))]


class _Piece(NamedTuple):
    start: int
    text: str
    tone: Tone


def _headings(starts: list[int], columns: list[str], width: int) -> list[_Piece]:
    """Return the names of the columns. A long one keeps both ends, because siblings differ in their last letter."""
    ends = [start - 1 for start in starts[1:]] + [width]
    return [
        _Piece(start, elided(short_name(task), max(end - start, 1)), "name")
        for start, end, task in zip(starts, ends, columns, strict=False)
    ]


def _row(pieces: list[_Piece], width: int) -> Row:
    """Return a row of texts that begin at given cells; each ends before the next one begins."""
    spans: list[Span] = []
    cells = 0
    ends = [each.start - 1 for each in pieces[1:]] + [width]
    for piece, end in zip(pieces, ends, strict=False):
        shown = fitted([Span(piece.text, piece.tone)], max(end - piece.start, 1))
        spans += [Span(" " * (piece.start - cells)), *shown]
        cells = piece.start + sum(width_of(span.text) for span in shown)
    return fitted(spans, width)
