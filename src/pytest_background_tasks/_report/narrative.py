"""The rows of a table: the steps that a reader needs to understand a failure.

A short run is shown completely. Of a long one, each column shows its last step before the orders diverge and before
each deviation, the steps that follow, and the end. Other steps of the columns are counted where they happen, those of
other tasks at the bottom.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from .._explore.trace import SETUP
from .._introspect.text import listing, plural
from .columns import in_default_order, truncated_at_end
from .layout import Tone, short_name
from .line_numbers import file_of, number_of, numbers_of
from .model import DeviationView, FailureView, RunView, StepKind, StepView
from .repeats import Repeat, repeats_of
from .source import Line, abbreviated, statement
from .wording import beginning, delivery, ending, mark, named_beginning, wait

_SHORT = 32  # rows up to which a run is shown completely
_AROUND = 3  # steps that are shown where the orders diverge, and at the end of a long run
_NEW = 20  # steps that are shown because the task executes a line for the first time
_CALLBACKS = 10  # callbacks up to which each has a row
_PASSING = 5  # starts and failures of tasks without a column: the number of first and of last ones that have a row
_NAMED = 3  # names before "and 5 more"


class Entry(NamedTuple):
    """A row without its place: in a column, or across all of them if `column` is None."""

    column: int | None
    text: str
    tone: Tone = ""


def narrative(view: FailureView, columns: list[str]) -> Iterator[Entry]:
    """Return the rows of a table in their order.

    Args:
        view: a failure.
        columns: the tasks that have a column.
    """
    return _Narrative(view, columns).entries()


class _Narrative:
    def __init__(self, view: FailureView, columns: list[str]) -> None:
        self._view = view
        self._run = truncated_at_end(view.failing)
        self._columns = columns
        self._tasks = in_default_order(view)
        self._deviations: dict[int | None, list[DeviationView]] = {}
        for each in self._run.deviations:
            self._deviations.setdefault(each.step, []).append(each)
        self._last = {step.task: index for index, step in enumerate(self._run.steps) if step.is_step}
        self._file = file_of(self._run)
        callbacks = [step for step in self._run.steps if step.lines and not step.task]
        self._shows_callbacks = len(callbacks) <= _CALLBACKS
        self._summarized = self._summarized_steps()
        numbers = (line.site.line for step in self._run.steps for line in step.lines)
        self._digits = len(str(max(numbers, default=0)))

    def entries(self) -> Iterator[Entry]:
        """Yield the rows."""
        repeats = self._repeats()
        shown = self._shown(_repeating(repeats))
        repeats = {last: repeat for last, repeat in repeats.items() if shown.issuperset(repeat.first)}
        repeating = _repeating(repeats)
        woken = self._woken(shown)
        folded: Counter[str] = Counter()
        others: Counter[str] = Counter()
        now = 0.0
        for index, step in enumerate(self._run.steps):
            if index == self._view.divergence and self._view.baseline is not None:
                yield from _counted(folded)
                yield Entry(None, self._default_step(self._view.baseline, index), "muted")
            if index in shown:
                yield from _counted(folded)
                if step.time != now:
                    now = step.time
                    yield Entry(None, f"at {now:g} s:", "muted")
                yield from self._rows_of(index, step)
                if index in repeats:
                    now = self._run.steps[repeats[index].again[-1]].time
                    until = f", until {now:g} s" if now != step.time else ""
                    yield Entry(self._columns.index(step.task), f"({repeats[index]}{until})", "muted")
            elif step.task not in self._columns:
                yield from self._summary_of(index, step, woken.get(index, ""), others)
            elif step.is_visible and index not in repeating:
                folded[step.task] += 1
        yield from _counted(folded)
        yield from self._not_reached()
        yield from _counted(others, "not shown: ")

    def _not_reached(self) -> Iterator[Entry]:
        for each in self._deviations.get(None, ()):
            yield Entry(None, f"{short_name(each.task)}: {mark(each)}, after the last step shown here", "deviates")

    def _repeats(self) -> dict[int, Repeat]:
        """Return steps that repeat with no other row in between, by the last one of their first round."""
        steps = self._run.steps
        indices = [index for index, each in enumerate(steps) if each.task in self._columns and each.is_visible]
        divergence = self._view.divergence or 0
        found: dict[int, Repeat] = {}
        for part in ([each for each in indices if each < divergence], [each for each in indices if each >= divergence]):
            rows = [None if index in self._deviations else (steps[index].task, self._texts(index)) for index in part]
            for place, repeat in repeats_of(rows).items():
                found[part[place]] = Repeat(*(tuple(part[each] for each in places) for places in repeat))
        return found

    def _shown(self, repeating: set[int]) -> set[int]:
        """Return the steps that have rows of their own."""
        deviating = {index for index in self._deviations if index is not None}
        candidates = [
            index
            for index, step in enumerate(self._run.steps)
            if index in deviating or (step.task in self._columns and step.is_visible and index not in repeating)
        ]
        if sum(len(self._texts(index)) for index in candidates) <= _SHORT:
            return set(candidates)
        borders = sorted({self._view.divergence or 0, *deviating})
        new = sorted(self._new(candidates), key=lambda index: abs(index - borders[0]))[:_NEW]
        after = [index for index in candidates if index >= borders[0]][:_AROUND]
        shown = {*deviating, *new, *candidates[-_AROUND:], *after}
        for task in self._columns:
            of_task = [index for index in candidates if self._run.steps[index].task == task]
            for border in borders[:_AROUND]:
                shown.update([index for index in of_task if index < border][-1:])
        return shown

    def _new(self, indices: list[int]) -> list[int]:
        """Return the steps in which a task executes a line for the first time."""
        seen: set[tuple[str, Line]] = set()
        new = []
        for index in indices:
            lines = {(self._run.steps[index].task, line) for line in self._run.steps[index].lines}
            if lines - seen:
                new.append(index)
            seen |= lines
        return new

    def _rows_of(self, index: int, step: StepView) -> Iterator[Entry]:
        column = self._columns.index(step.task) if step.task in self._columns else None
        prefix = f"{short_name(step.task)}: " if column is None and step.task else ""
        for text, tone in self._texts(index):
            yield Entry(column, prefix + text, tone)

    def _texts(self, index: int) -> list[tuple[str, Tone]]:
        """Return the texts of a step, one for each row."""
        step = self._run.steps[index]
        deviations = self._deviations.get(index, [])
        texts: list[tuple[str, Tone]] = [(mark(each), "deviates") for each in deviations]
        if delivered := delivery(step, deviations):
            texts.append((delivered, "muted"))
        texts += [(self._line(line, indent), "") for line, indent in abbreviated(step.lines, self._file)]
        if reason := wait(step, is_last=self._last.get(step.task) == index):
            texts.append((reason, "muted"))
        if step.fails:
            texts.append((ending(step.outcome), "fails"))
        return texts or [(ending(step.outcome) or beginning(step), "muted")]

    def _line(self, line: Line | None, indent: int = 0) -> str:
        if line is None:
            return f"{'':{self._digits}} …"
        return f"{number_of(line, self._file, self._digits)} {'  ' * indent}{line.text}"

    def _woken(self, shown: set[int]) -> dict[int, str]:
        """Return the steps after the divergence that woke one with rows of its own, each with the task that it woke."""
        steps = [self._run.steps[index] for index in sorted(shown)]
        start = self._view.divergence or 0
        return {each.woken_by: each.task for each in steps if each.woken_by and each.woken_by >= start}

    def _summarized_steps(self) -> set[int]:
        """Return the steps without a column that get a row: those that start a task with a column, and a few others."""
        others = [
            (index, step) for index, step in enumerate(self._run.steps) if step.task and step.task not in self._columns
        ]
        starts = [index for index, step in others if step.starts and not step.task.startswith(f"{SETUP}/")]
        failures = [index for index, step in others if step.fails]
        few = {index for group in (starts, failures) for index in (*group[:_PASSING], *group[-_PASSING:])}
        columns = set(self._columns) - {self._run.test}  # a runner has started the test
        return few | {index for index, step in others if set(step.starts) & columns}

    def _summary_of(self, index: int, step: StepView, woken: str, others: Counter[str]) -> Iterator[Entry]:
        """Yield a row for a step without a column that starts or wakes a task, or fails; else count the step."""
        is_summarized = index in self._summarized
        if step.starts and is_summarized:
            names = sorted(step.starts, key=lambda task: self._tasks.index(task) if task in self._tasks else 0)
            started = listing([short_name(task) for task in names], _NAMED)
            yield Entry(None, f"{short_name(step.task)} starts {started}", "muted")
        elif step.fails and (is_summarized or not step.task):
            where = "".join(f" in {self._line(line).strip()}" for line in _failing_lines(step))
            yield Entry(None, f"{short_name(step.task)} {ending(step.outcome)}{where}", "fails")
        elif woken and step.task and step.lines:
            at = f"at {numbers_of(step.lines, self._file)}"
            yield Entry(None, f"{short_name(step.task)}, {at}, wakes {short_name(woken)}", "muted")
        elif step.lines and not step.task and self._shows_callbacks:
            yield from self._called(step)
        elif step.is_visible:
            others[step.task or "callbacks"] += 1

    def _called(self, step: StepView) -> Iterator[Entry]:
        """Yield the rows of a callback: one if it executes one line."""
        called = f"{beginning(step).rpartition('<locals>.')[2]}:"
        lines = abbreviated(step.lines, self._file)
        if len(lines) == 1:
            yield Entry(None, f"{called} {self._line(*lines[0]).strip()}")
            return
        yield Entry(None, called)
        for line, indent in lines:
            yield Entry(None, f"  {self._line(line, indent)}")

    def _default_step(self, baseline: RunView, index: int) -> str:
        """Return the row that names the step of the default order where the failing order diverges from it."""
        steps = baseline.steps[index:]
        step = next((each for each in steps if each.is_step or each.kind is StepKind.TIMER), None)
        if step is None:
            return "-- in the default order, nothing more happens from here on --"
        lines = [line for line, _ in abbreviated(step.lines, self._file) if line is not None]
        where = "".join(f" (line {number_of(line, self._file)})" for line in lines[:1])
        return f"-- in the default order, {named_beginning(step, short_name(step.task))} here{where} --"


def _repeating(repeats: dict[int, Repeat]) -> set[int]:
    return {index for repeat in repeats.values() for index in repeat.again}


def _failing_lines(step: StepView) -> tuple[Line, ...]:
    """Return the line that raised the exception of a step; the last one executed may be a clean-up."""
    if not (step.suspended_at and step.outcome is not None and step.outcome.kind == "raised"):
        return step.lines[-1:]
    raising = step.suspended_at[-1]
    found = statement(raising.site.file, raising.site.line)
    return (Line(raising.site._replace(line=found.line), found.text or raising.text),)


def _counted(counts: Counter[str], before: str = "… ") -> Iterator[Entry]:
    """Yield the counts in a row, and clear them."""
    if counts:
        steps = [f"{plural(count, 'step')} of {short_name(task)}" for task, count in counts.items()]
        yield Entry(None, f"{before}{listing(steps, _NAMED)}", "muted")
    counts.clear()
