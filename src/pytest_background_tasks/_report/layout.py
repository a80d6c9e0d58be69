"""Text for a terminal: rows of spans, each with a tone. Control characters are escaped, and widths are in cells."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Literal, NamedTuple, TypeAlias
from unicodedata import category, east_asian_width

Tone: TypeAlias = Literal["", "name", "muted", "deviates", "fails"]
"""The role of a text: plain, the name of a task, secondary, a deviation, an error. A terminal may colour it."""


class Span(NamedTuple):
    """A piece of text in one tone."""

    text: str
    tone: Tone = ""


Row: TypeAlias = tuple[Span, ...]
"""One row of a terminal, without the end of the line."""


def escaped(text: str) -> str:
    r"""Return `text` in one row, with escapes for characters that are not printable.

    >>> print(escaped("a\tb\x1b[31m\n"))
    a b\x1b[31m\n
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else " " if each == "\t" else each.encode("unicode_escape").decode() for each in text
    )


def width_of(text: str) -> int:
    """Return the number of terminal cells that printable `text` takes.

    >>> width_of("naïve"), width_of("任务")
    (5, 4)
    """
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(character: str) -> int:
    if category(character) in ("Mn", "Me"):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return `text` in at most `width` cells; an ellipsis stands for the rest.

    >>> cut("await", 5), cut("await it", 5)
    ('await', 'awai…')
    """
    if width_of(text) <= width:
        return text
    ends = accumulate(map(_cells, text))
    kept = sum(end < width for end in ends)
    return text[:kept] + "…" if width > 0 else ""


def elided(text: str, width: int) -> str:
    """Return `text` in at most `width` cells; an ellipsis stands for its middle.

    >>> elided("connection/worker#12", 12)
    'conne…ker#12'
    """
    if width_of(text) <= width or width < 1:
        return cut(text, width)
    head = cut(text, (width + 1) // 2)
    ends = accumulate(map(_cells, reversed(text)))
    kept = sum(end <= width - width_of(head) for end in ends)
    return head + text[len(text) - kept :]


_NAME = 32  # cells of the name of a task


def short_name(task: str) -> str:
    """Return the name of a task in at most 32 cells, so that it leaves room for other text."""
    return elided(escaped(task), _NAME)


def wrapped(text: str, width: int) -> list[str]:
    """Return `text` in rows of at most `width` cells, broken between words only.

    >>> wrapped("a few words", 6)
    ['a few', 'words']
    """
    rows: list[str] = []
    for word in escaped(text).split(" "):
        if rows and width_of(rows[-1]) + 1 + width_of(word) <= width:
            rows[-1] += f" {word}"
        else:
            rows.append(word)
    return rows


def padded(text: str, width: int) -> str:
    """Return `text` in exactly `width` cells."""
    shown = cut(text, width)
    return shown + " " * (width - width_of(shown))


def fitted(row: Iterable[Span], width: int) -> Row:
    """Return `row` in at most `width` cells, without trailing spaces."""
    spans: list[Span] = []
    for span in row:
        shown = cut(escaped(span.text), width)
        width -= width_of(shown)
        if shown:
            spans.append(Span(shown, span.tone))
    while spans and not spans[-1].text.rstrip():
        spans.pop()
    if spans:
        spans[-1] = spans[-1]._replace(text=spans[-1].text.rstrip())
    return tuple(spans)


def plain(rows: Iterable[Row]) -> str:
    """Return the rows as text, without their tones."""
    return "\n".join("".join(span.text for span in row) for row in rows)
