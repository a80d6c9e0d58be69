"""A failure as one HTML file that a browser opens from disk: the steps of each task, their lines, and the deviations.

The page is a template, a style sheet and a script, which stand beside this file, and the run as JSON. The script, in
two files, draws the run; it needs no network, and the page's content security policy forbids it. Everything that comes
from the program under test (names, source, messages) is data: escaped in the HTML and the JSON, and added to the page
by the script as text, never as markup.

The page embeds the source of the functions that the tasks of the failure were in, and of values only what the
error message says.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from importlib.resources import files as resources
from typing import Any

from .._introspect.location import SourceLocation, shown_file
from .._introspect.syntax import syntax_tree
from .line_numbers import file_of, number_of
from .model import DeviationView, FailureView, RunView, StepView
from .source import Line, abbreviated
from .wording import (
    beginning,
    delivery,
    ending,
    headline,
    mark,
    named_beginning,
    path,
    relation_to_cause,
    sentence,
    wait,
)

_MOST = 2000
"""The most steps of one run that are drawn; of more (a livelock), the first, the last, and those around deviations."""

_NEAR = 8
"""The number of lines around an executed one that are shown of a long function."""

_LONG = 60
"""The number of lines above which a function is long."""

_WIDE = 400
"""The most characters of a line that are shown."""


def page(
    view: FailureView, *, title: str, error: str, text: str, replay: str, sources: Mapping[str, Sequence[str]]
) -> str:
    """Return the page, in ASCII.

    Args:
        view: the failure.
        title: the title of the page: the id of the test.
        error: the error with its message; its first line also stands at the end of the drawing.
        text: the report of the failure in the terminal.
        replay: the command that replays it.
        sources: the lines of the files in `files_of`; the source of a missing file is not shown.
    """
    shown = _data(view, error, sources)
    style, script = _resource("html.css"), _resource("drawing.js") + _resource("html.js")
    parts = {
        "policy": f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        "title": html.escape(title),
        "heading": re.sub("(::|/)", r"\1<wbr>", html.escape(title)),
        "error": html.escape(error),
        "text": html.escape(text),
        "replay": html.escape(replay),
        "data": _as_json(shown),
        "style": style,
        "script": script,
    }
    whole = _resource("html.template")
    for name, part in parts.items():  # escaped text has no `<`, and cannot be mistaken for one of these placeholders
        whole = whole.replace(f"<!--{name}-->", part)
    return whole.encode("ascii", "xmlcharrefreplace").decode("ascii")


def files_of(view: FailureView) -> list[str]:
    """Return the files whose source the page shows."""
    runs = [run for run in (view.baseline, view.failing) if run is not None]
    return sorted({line.site.file for run in runs for line in _lines_of(run.steps)})


def _lines_of(steps: Iterable[StepView]) -> Iterator[Line]:
    for step in steps:
        yield from step.resumed_at
        yield from step.suspended_at
        yield from step.lines


def _resource(name: str) -> str:
    package = __name__.rpartition(".")[0]  # `__package__` is deprecated
    return resources(package).joinpath(name).read_text(encoding="ascii")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _as_json(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"))  # ASCII only, so no U+2028 and no lone surrogate either
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(view: FailureView, error: str, sources: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    result = error.splitlines()[0] if error else ""
    runs = [("failing order", result, False, view.failing)]
    if view.baseline is not None:
        runs.insert(0, ("default order", "passes", True, view.baseline))
    drawn = [_drawn(run, view.divergence) for *_, run in runs]
    functions, file = _Functions(sources), file_of(view.failing)
    for (*_, run), indices in zip(runs, drawn, strict=True):
        for line in _lines_of(run.steps[index] for index in indices):
            functions.add(line)
    return {
        "divergence": view.divergence,
        "headline": headline(view.failing.deviations),
        "runs": [
            {
                "name": name,
                "result": result,
                "passes": passes,
                "tasks": run.tasks,
                "steps": [_step(index, run, functions, file, last) for index in indices],
                "deviations": [_deviation(each) for each in run.deviations],
            }
            for (name, result, passes, run), indices in zip(runs, drawn, strict=True)
            for last in [_last(run)]
        ],
        "functions": functions.as_data(),
    }


def _drawn(run: RunView, divergence: int | None) -> Sequence[int]:
    """Return the indices of the steps that are drawn."""
    count = len(run.steps)
    if count <= _MOST:
        return range(count)
    third = _MOST // 3
    different = {each.step for each in run.deviations}
    apart = [index for index in range(count) if index == divergence or index in different]
    around = {near for index in apart[:3] for near in range(index - third // 6, index + third // 6)}
    return [index for index in range(count) if index < third or index >= count - third or index in around]


def _last(run: RunView) -> Set[int]:
    """Return the indices of each task's last step."""
    return set({step.task: index for index, step in enumerate(run.steps) if step.is_step}.values())


def _deviation(view: DeviationView) -> dict[str, Any]:
    return {
        "mark": mark(view),
        "sentence": sentence(view),
        "code": view.code,
        "path": path(view),
        "index": view.step,
    }


def _step(index: int, run: RunView, functions: _Functions, file: str, last: Set[int]) -> dict[str, Any]:
    step = run.steps[index]
    lines = [
        ("\N{HORIZONTAL ELLIPSIS}", "", 0) if line is None else (number_of(line, file), line.text, indent)
        for line, indent in abbreviated(step.lines, file)
    ]
    values = {
        "index": index,
        "task": run.tasks.index(step.task) if step.task else None,
        "isStep": step.is_step,
        "beginning": beginning(step),
        "namedBeginning": named_beginning(step, step.task),
        "delivery": delivery(step, [each for each in run.deviations if each.step == index]),
        "callback": "" if step.task else step.subject,
        "lines": lines,
        "resumedAt": [functions.place(line) for line in step.resumed_at],
        "executed": list(dict.fromkeys(functions.place(line) for line in step.lines)),
        "suspendedAt": [functions.place(line) for line in step.suspended_at],
        "wait": wait(step, is_last=index in last),
        "waitingFor": str(step.waiting_for or ""),
        "yields": (step.waiting_for is not None and step.waiting_for.kind == "turn") or None,
        "ending": ending(step.outcome),
        "starts": [run.tasks.index(task) for task in step.starts],
        "wokenBy": step.woken_by,
        "causedBy": list(step.caused_by),
        "relation": relation_to_cause(step),
        "time": step.time,
    }
    return {name: value for name, value in values.items() if value not in (None, "", [])}


_WITHIN = re.compile(r"(?<=.)(\.<locals>)?(\.<\w+>)+$")
"""The end of the name of a lambda, or of a comprehension until Python 3.11: they stand in another function."""


class _Functions:
    """The functions that contain the lines of a run, with the part of their source that is shown."""

    def __init__(self, sources: Mapping[str, Sequence[str]]) -> None:
        self._sources = sources
        self._ranges = {file: list(_ranges(lines)) for file, lines in sources.items()}
        self._numbers: dict[tuple[str, str, int, int], int] = {}
        self._places: dict[SourceLocation, tuple[int, int]] = {}
        self._used: list[set[int]] = []

    def add(self, line: Line) -> None:
        """Let the source around `line` be shown."""
        number, at = self.place(line)
        self._used[number].add(at)

    def place(self, line: Line) -> tuple[int, int]:
        """Return the number of the function that contains `line`, and the number of the line in its file."""
        if line.site not in self._places:
            self._places[line.site] = self._number(line.site), line.site.line
        return self._places[line.site]

    def _number(self, site: SourceLocation) -> int:
        around = [each for each in self._ranges.get(site.file, ()) if each[0] <= site.line <= each[1]]
        first, last = max(around, default=(site.line - _NEAR, site.line + _NEAR))
        function = _WITHIN.sub("", site.function) if around else site.function
        key = (site.file, function, first, last)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers)
            self._used.append(set())
        return self._numbers[key]

    def as_data(self) -> list[dict[str, Any]]:
        """Return the functions as the page needs them."""
        found = []
        for (file, function, first, last), number in self._numbers.items():
            lines = self._sources.get(file, ())
            numbers = range(max(first, 1), min(last, len(lines)) + 1)
            if len(numbers) > _LONG:
                near = {other for line in self._used[number] for other in range(line - _NEAR, line + _NEAR + 1)}
                numbers = [each for each in numbers if each in near or each == first]  # type: ignore[assignment]
            source = [(each, _cut(lines[each - 1])) for each in numbers]
            found.append({"name": function, "file": shown_file(file), "lines": source})
        return found


def _cut(line: str) -> str:
    line = line.rstrip().expandtabs()
    return line if len(line) <= _WIDE else f"{line[:_WIDE]}\N{HORIZONTAL ELLIPSIS}"


def _ranges(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last line of each function, its decorators included."""
    tree = syntax_tree("".join(line if line.endswith("\n") else f"{line}\n" for line in lines))
    if tree is None:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min(each.lineno for each in (node, *node.decorator_list))
            yield first, node.end_lineno or first
