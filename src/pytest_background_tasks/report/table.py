"""A failure as a table: a column per task that matters, from top to bottom what ran, with the user's own lines.

A row belongs to one column, so its text may run on over those to the right: hardly anything is cut. A short story is
shown whole; of a long one, what each column did last before the orders part and before each deviation, what comes after
that, and the end. What else the columns do is counted where it happens, what the other tasks do at the bottom.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..amounts import amount
from .focus import columns_of, does_something, in_order, until_the_end
from .repeats import Repeat, repeats_of
from .source import Line, in_short, statement
from .story import Failing, Moment, Story, gets_of, wait_of
from .text import Row, Span, Tone, cut_inside, fitted, harmless, width_of

_LEAST = 22  # cells for a column, on average
_NARROW = 16  # cells of a column that gives way to the last one, which nothing can run on over
_GUTTER, _GAP = 2, 2  # cells before the columns, and between them
_SHORT = 32  # rows up to which a story is shown whole
_AROUND = 3  # steps that are kept where the orders part, and at the end of a long story
_NEW = 20  # steps that are kept because the task does for the first time what it does there
_CALLBACKS = 10  # that are no timers: up to so many are told one by one
_PASSING = 5  # of the tasks without a column, so many of the first and of the last starts and failures are told
_NAME = 32  # cells of a task's name
_NAMED = 3  # tasks named before "and 5 more"


class _Entry(NamedTuple):
    """A row before it has its place: in a column, or across all of them."""

    column: int | None
    text: str
    tone: Tone = ""


def table(failing: Failing, width: int) -> list[Row]:
    """The failing order in rows of at most `width` cells."""
    columns = columns_of(failing, room_for_columns(width))
    entries = list(_Telling(failing, columns).entries())
    starts = _starts(columns, entries, width)
    header = [
        _row(_headings(starts, columns, width), width),
        _row([_Piece(start, "-" * (_NARROW - 1), "aside") for start in starts], width),
    ]
    rows = header if columns else []
    for column, text, tone in entries:
        sign = [_Piece(0, "!", tone)] if tone == "differs" else []
        rows.append(_row([*sign, _Piece(_GUTTER if column is None else starts[column], text, tone)], width))
    return rows


def room_for_columns(width: int) -> int:
    """How many columns there may be."""
    return max((width - _GUTTER + _GAP) // (_LEAST + _GAP), 1)


def name_of(lane: str) -> str:
    """A task's name, of a length that leaves room for something beside it."""
    return cut_inside(harmless(lane), _NAME)


def file_of(story: Story) -> str:
    """The file of which a table shows bare numbers of lines: the one of which most were run."""
    files = Counter(line.site.file for moment in story.moments for line in moment.ran)
    return next((file for file, _ in files.most_common(1)), "")


def number_of(line: Line, file: str, digits: int = 0) -> str:
    """The number of a line, behind the name of its file if that is not the usual one."""
    if line.site.file == file:
        return f"{line.site.line:{digits}}"
    path = Path(line.site.file)
    return f"{path.parent.name if path.stem == '__init__' else path.stem}:{line.site.line}"


def numbers_of(lines: tuple[Line, ...], file: str) -> str:
    """``31-33, 40``, of the outermost function: what follows upwards is one range."""
    ranges: list[list[Line]] = []
    least = min(line.deep for line in lines)
    for line in lines:
        if line.deep > least:
            continue
        last = ranges[-1][-1] if ranges else None
        if last and last.site.function == line.site.function and last.site.line < line.site.line:
            ranges[-1].append(line)
        else:
            ranges.append([line])
    return ", ".join(number_of(each[0], file) + (f"-{each[-1].site.line}" if len(each) > 1 else "") for each in ranges)


def _starts(columns: list[str], entries: list[_Entry], width: int) -> list[int]:
    """The cell at which each column begins: all that it needs before that if there is room."""
    names = [width_of(name_of(lane)) for lane in columns]
    widths = list(names)
    for column, text, _ in entries:
        if column is not None:
            widths[column] = max(widths[column], width_of(harmless(text)))
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
    """The names over the columns. Of one that is too long both ends are kept: siblings differ in their last letter."""
    ends = [start - 1 for start in starts[1:]] + [width]
    return [
        _Piece(start, cut_inside(name_of(lane), max(end - start, 1)), "name")
        for start, end, lane in zip(starts, ends, columns, strict=False)
    ]


def _row(pieces: list[_Piece], width: int) -> Row:
    """Texts that begin at given cells; each ends before the next one begins."""
    spans: list[Span] = []
    cells = 0
    ends = [each.start - 1 for each in pieces[1:]] + [width]
    for piece, end in zip(pieces, ends, strict=False):
        shown = fitted([Span(piece.text, piece.tone)], max(end - piece.start, 1))
        spans += [Span(" " * (piece.start - cells)), *shown]
        cells = piece.start + sum(width_of(span.text) for span in shown)
    return fitted(spans, width)


class _Telling:
    """The rows of a table in the order in which they come."""

    def __init__(self, failing: Failing, columns: list[str]) -> None:
        self._failing = failing
        self._story = until_the_end(failing.here)
        self._columns = columns
        self._lanes = in_order(failing)
        self._marks: dict[int | None, list[str]] = {}
        for each in self._story.differences:
            self._marks.setdefault(each.moment, []).append(each.mark)
        self._last = {moment.lane: index for index, moment in enumerate(self._story.moments) if moment.is_step}
        self._file = file_of(self._story)
        callbacks = [moment for moment in self._story.moments if moment.ran and not moment.lane]
        self._tells_callbacks = len(callbacks) <= _CALLBACKS
        self._passing = self._told_in_passing()
        numbers = (line.site.line for moment in self._story.moments for line in moment.ran)
        self._digits = len(str(max(numbers, default=0)))

    def entries(self) -> Iterator[_Entry]:
        repeats = self._repeats()
        kept = self._kept(_again(repeats))
        repeats = {last: repeat for last, repeat in repeats.items() if kept.issuperset(repeat.first)}
        again = _again(repeats)
        woken = self._woken(kept)
        folded: Counter[str] = Counter()
        others: Counter[str] = Counter()
        now = 0.0
        for index, moment in enumerate(self._story.moments):
            if index == self._failing.parting and self._failing.usual is not None:
                yield from _counted(folded)
                yield _Entry(None, self._parting(self._failing.usual, index), "aside")
            if index in kept:
                yield from _counted(folded)
                if moment.time != now:
                    now = moment.time
                    yield _Entry(None, f"after {now:g} s:", "aside")
                yield from self._told(index, moment)
                if index in repeats:
                    now = self._story.moments[repeats[index].again[-1]].time
                    until = f", until {now:g} s" if now != moment.time else ""
                    text = f"({repeats[index]}{until})"
                    yield _Entry(self._columns.index(moment.lane), text, "aside")
            elif moment.lane not in self._columns:
                yield from self._in_passing(index, moment, woken.get(index, ""), others)
            elif does_something(moment) and index not in again:
                folded[moment.lane] += 1
        yield from _counted(folded)
        yield from self._never_came()
        yield from _counted(others, "not shown: ")

    def _never_came(self) -> Iterator[_Entry]:
        for each in self._story.differences:
            if each.moment is None:
                yield _Entry(None, f"{name_of(each.lane)}: {each.mark}, after all of this", "differs")

    def _repeats(self) -> dict[int, Repeat]:
        """Steps that come again, with nothing told in between; by the last one of their first time."""
        moments = self._story.moments
        indices = [index for index, each in enumerate(moments) if each.lane in self._columns and does_something(each)]
        parting = self._failing.parting or 0
        found: dict[int, Repeat] = {}
        for part in ([each for each in indices if each < parting], [each for each in indices if each >= parting]):
            told = [None if index in self._marks else (moments[index].lane, self._parts(index)) for index in part]
            for place, repeat in repeats_of(told).items():
                found[part[place]] = Repeat(*(tuple(part[each] for each in places) for places in repeat))
        return found

    def _kept(self, repeats: set[int]) -> set[int]:
        """The moments that are shown."""
        different = {each.moment for each in self._story.differences if each.moment is not None}
        told = [
            index
            for index, moment in enumerate(self._story.moments)
            if index in different or (moment.lane in self._columns and does_something(moment) and index not in repeats)
        ]
        if sum(len(self._parts(index)) for index in told) <= _SHORT:
            return set(told)
        borders = sorted({self._failing.parting or 0, *different})
        new = sorted(self._new(told), key=lambda index: abs(index - borders[0]))[:_NEW]
        kept = {*different, *new, *told[-_AROUND:], *[index for index in told if index >= borders[0]][:_AROUND]}
        for lane in self._columns:
            mine = [index for index in told if self._story.moments[index].lane == lane]
            for border in borders[:_AROUND]:
                kept.update([index for index in mine if index < border][-1:])
        return kept

    def _new(self, told: list[int]) -> list[int]:
        """The steps in which a task runs a line that it has not run before."""
        seen: set[tuple[str, Line]] = set()
        new = []
        for index in told:
            lines = {(self._story.moments[index].lane, line) for line in self._story.moments[index].ran}
            if lines - seen:
                new.append(index)
            seen |= lines
        return new

    def _told(self, index: int, moment: Moment) -> Iterator[_Entry]:
        column = self._columns.index(moment.lane) if moment.lane in self._columns else None
        who = f"{name_of(moment.lane)}: " if column is None and moment.lane else ""
        for text, tone in self._parts(index):
            yield _Entry(column, who + text, tone)

    def _parts(self, index: int) -> list[tuple[str, Tone]]:
        """What is said of a moment, a row each."""
        moment = self._story.moments[index]
        marks = self._marks.get(index, [])
        parts: list[tuple[str, Tone]] = [(mark, "differs") for mark in marks]
        if gets := gets_of(moment, marks):
            parts.append((gets, "aside"))
        parts += [(self._line(line, indent), "") for line, indent in in_short(moment.ran, self._file)]
        if wait := wait_of(moment, is_last=self._last.get(moment.lane) == index):
            parts.append((f"waits for {wait}", "aside"))
        if moment.fails:
            parts.append((moment.end, "fails"))
        return parts or [(moment.end or moment.what, "aside")]

    def _line(self, line: Line | None, indent: int = 0) -> str:
        if line is None:
            return f"{'':{self._digits}} …"
        return f"{number_of(line, self._file, self._digits)} {'  ' * indent}{line.text}"

    def _woken(self, kept: set[int]) -> dict[int, str]:
        """The steps, from where the orders part, that woke one that is shown; each with whom."""
        shown = {index: self._story.moments[index] for index in sorted(kept)}
        start = self._failing.parting or 0
        return {each.woken_by: each.lane for each in shown.values() if each.woken_by and each.woken_by >= start}

    def _told_in_passing(self) -> set[int]:
        """The starts and failures of tasks without a column that are told: all that start a column, few if many."""
        others = [
            (index, moment)
            for index, moment in enumerate(self._story.moments)
            if moment.lane and moment.lane not in self._columns
        ]
        kinds = [
            [index for index, moment in others if moment.starts],
            [index for index, moment in others if moment.fails],
        ]
        few = {index for kind in kinds for index in (*kind[:_PASSING], *kind[-_PASSING:])}
        return few | {index for index, moment in others if set(moment.starts) & set(self._columns)}

    def _in_passing(self, index: int, moment: Moment, woken: str, others: Counter[str]) -> Iterator[_Entry]:
        """What a task without a column does: whom it starts or wakes, how it fails; the rest is only counted."""
        is_told = index in self._passing
        if moment.starts and is_told:
            names = sorted(moment.starts, key=lambda lane: self._lanes.index(lane) if lane in self._lanes else 0)
            yield _Entry(None, f"{name_of(moment.lane)} starts {_listed([name_of(lane) for lane in names])}", "aside")
        elif moment.fails and (is_told or not moment.lane):
            where = "".join(f" in {self._line(line).strip()}" for line in _failing_lines(moment))
            yield _Entry(None, f"{name_of(moment.lane)} {moment.end}{where}", "fails")
        elif woken and moment.lane and moment.ran:
            at = f"at {numbers_of(moment.ran, self._file)}"
            yield _Entry(None, f"{name_of(moment.lane)}, {at}, wakes {name_of(woken)}", "aside")
        elif moment.ran and not moment.lane and self._tells_callbacks:
            yield from self._called(moment)
        elif does_something(moment):
            others[moment.lane or "callbacks"] += 1

    def _called(self, moment: Moment) -> Iterator[_Entry]:
        """A callback, in one row if it runs one line."""
        what = f"{moment.what.rpartition('<locals>.')[2]}:"
        lines = in_short(moment.ran, self._file)
        if len(lines) == 1:
            yield _Entry(None, f"{what} {self._line(*lines[0]).strip()}")
            return
        yield _Entry(None, what)
        for line, indent in lines:
            yield _Entry(None, f"  {self._line(line, indent)}")

    def _parting(self, usual: Story, index: int) -> str:
        moment = next((each for each in usual.moments[index:] if each.is_step or each.what == "its timer fires"), None)
        if moment is None:
            return "-- usually nothing more happens from here on --"
        who = name_of(moment.lane) + ("" if moment.is_step else "'s")
        lines = [line for line, _ in in_short(moment.ran, self._file) if line is not None]
        where = "".join(f", at {number_of(line, self._file)}" for line in lines[:1])
        return f"-- usually {who} {moment.what.removeprefix('its ')} here{where} --"


def _again(repeats: dict[int, Repeat]) -> set[int]:
    return {index for repeat in repeats.values() for index in repeat.again}


def _failing_lines(moment: Moment) -> tuple[Line, ...]:
    """Where a moment's error was raised; what ran last may be a clean-up."""
    if not (moment.until and moment.end.startswith("raises ")):
        return moment.ran[-1:]
    raising = moment.until[-1]
    found = statement(raising.site.file, raising.site.line)
    return (Line(raising.site._replace(line=found.line), found.text or raising.text),)


def _counted(counts: Counter[str], before: str = "… ") -> Iterator[_Entry]:
    """The counts in a row, and none from now on."""
    if counts:
        steps = [f"{amount(count, 'step')} of {name_of(lane)}" for lane, count in counts.items()]
        yield _Entry(None, f"{before}{_listed(steps)}", "aside")
    counts.clear()


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
