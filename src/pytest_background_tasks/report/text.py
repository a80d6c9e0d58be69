"""Text for a terminal: rows of spans, each with a tone. Whatever is in it does no harm, and its width is known."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Literal, NamedTuple, TypeAlias
from unicodedata import category, east_asian_width

Tone: TypeAlias = Literal["", "name", "aside", "differs", "fails"]
"""What a piece of text is: plain, a task's name, beside the point, a deviation, an error. A terminal may colour it."""


class Span(NamedTuple):
    """A piece of text in one tone."""

    text: str
    tone: Tone = ""


Row: TypeAlias = tuple[Span, ...]
"""One row of a terminal, without its end."""


def harmless(text: str) -> str:
    r"""`text` in one row: what is not printable is shown by its escape.

    >>> print(harmless("a\tb\x1b[31m\n"))
    a b\x1b[31m\n
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else " " if each == "\t" else each.encode("unicode_escape").decode() for each in text
    )


def width_of(text: str) -> int:
    """How many cells of a terminal printable `text` takes.

    >>> width_of("naïve"), width_of("任务")
    (5, 4)
    """
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(character: str) -> int:
    if category(character) in ("Mn", "Me"):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """`text` in at most so many cells; an ellipsis stands for the rest.

    >>> cut("await", 5), cut("await it", 5)
    ('await', 'awai…')
    """
    if width_of(text) <= width:
        return text
    ends = accumulate(map(_cells, text))
    kept = sum(end < width for end in ends)
    return text[:kept] + "…" if width > 0 else ""


def cut_inside(text: str, width: int) -> str:
    """`text` in at most so many cells, of which both ends are kept.

    >>> cut_inside("connection/worker#12", 12)
    'conne…ker#12'
    """
    if width_of(text) <= width or width < 1:
        return cut(text, width)
    head = cut(text, (width + 1) // 2)
    ends = accumulate(map(_cells, reversed(text)))
    kept = sum(end <= width - width_of(head) for end in ends)
    return head + text[len(text) - kept :]


def filled(text: str, width: int) -> list[str]:
    """`text` in rows of at most so many cells, broken between words only.

    >>> filled("a few words", 6)
    ['a few', 'words']
    """
    rows: list[str] = []
    for word in harmless(text).split(" "):
        if rows and width_of(rows[-1]) + 1 + width_of(word) <= width:
            rows[-1] += f" {word}"
        else:
            rows.append(word)
    return rows


def padded(text: str, width: int) -> str:
    """`text` in exactly so many cells."""
    shown = cut(text, width)
    return shown + " " * (width - width_of(shown))


def fitted(row: Iterable[Span], width: int) -> Row:
    """`row` in at most so many cells, without blanks at its end."""
    spans: list[Span] = []
    for span in row:
        shown = cut(harmless(span.text), width)
        width -= width_of(shown)
        if shown:
            spans.append(Span(shown, span.tone))
    while spans and not spans[-1].text.rstrip():
        spans.pop()
    if spans:
        spans[-1] = spans[-1]._replace(text=spans[-1].text.rstrip())
    return tuple(spans)


def plain(rows: Iterable[Row]) -> str:
    """The rows without their tones."""
    return "\n".join("".join(span.text for span in row) for row in rows)
