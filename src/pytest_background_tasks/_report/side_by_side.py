"""The default order beside the failing one, from the step in which they diverge: tasks and line numbers only."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, zip_longest

from .columns import columns_of, truncated_at_end
from .layout import Row, Span, escaped, fitted, padded, short_name, width_of
from .line_numbers import file_of, numbers_of
from .model import FailureView, RunView, StepView
from .table import most_columns
from .wording import beginning, ending

_MOST = 12  # rows
_DEFAULT, _FAILING = "default order", "failing order"


def side_by_side(view: FailureView, width: int) -> list[Row]:
    """Return rows of at most `width` cells; none if the orders do not diverge."""
    if view.baseline is None or view.divergence is None:
        return []
    file = file_of(view.failing)
    columns = columns_of(view, most_columns(width))
    left, right = (list(_steps(run, view.divergence, columns, file)) for run in (view.baseline, view.failing))
    if not left or not right:
        return []
    half = min(max(width_of(escaped(text)) for text in [_DEFAULT, *left[:_MOST]]), (width - 6) // 2)
    rows = [fitted([Span("Side by side from the divergence on, by line number:")], width)]
    rows.append(fitted([Span("  "), Span(padded(_DEFAULT, half), "name"), Span(f"  {_FAILING}", "name")], width))
    for one, other in list(zip_longest(left, right, fillvalue=""))[:_MOST]:
        rows.append(fitted([Span("  "), Span(padded(escaped(one), half)), Span("  " + other)], width))
    if max(len(left), len(right)) > _MOST:
        rows.append(fitted([Span("  …", "muted")], width))
    return rows


def _steps(run: RunView, start: int, columns: list[str], file: str) -> Iterator[str]:
    steps = (
        _step(step, file)
        for step in truncated_at_end(run).steps[start:]
        if step.is_visible and (step.task in columns or step.fails)
    )
    for step, same in groupby(steps):
        count = len(list(same))
        yield step if count == 1 else f"{step}, {count} times"


def _step(step: StepView, file: str) -> str:
    name = short_name(step.task)
    if not step.lines:
        return f"{name}  {ending(step.outcome) or beginning(step)}"
    return f"{name}  {numbers_of(step.lines, file)}{f', {ending(step.outcome)}' if step.fails else ''}"
