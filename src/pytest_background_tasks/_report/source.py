"""The lines that a step has executed, as statements of the user's source."""

from __future__ import annotations

import ast
import linecache
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from .._explore.trace import StepDetail
from .._introspect.location import SourceLocation
from .._introspect.syntax import syntax_tree


@dataclass(frozen=True, slots=True)
class Line:
    """A line of source.

    Attributes:
        site: its place.
        text: its text without indentation; empty if the file cannot be read.
        depth: the number of calls between it and the function in which the step began; of executed lines only.
    """

    site: SourceLocation
    text: str
    depth: int = 0


_FEW = 5  # lines of a step up to which those of all files are shown
_LINES = 8  # lines of a step that are shown at most
_COMMENT = re.compile(r"\s+#")


class Statement(NamedTuple):
    """A statement; of a compound one, its head.

    Attributes:
        line: its first line.
        end: its last line, the body included.
        text: the text of its first line without indentation; with an ellipsis if there are more.
        kind: the name of its class in the `ast` module; empty if the source cannot be parsed.
        calls_unseen: True if it calls functions that it does not name, such as ``__aexit__`` or a generator.
    """

    line: int
    end: int
    text: str
    kind: str
    calls_unseen: bool = False


def statement(file: str, line: int) -> Statement:
    """Return the innermost statement at this line; the line alone if there is none."""
    found = _statements(file).get(line)
    return found or Statement(line, line, linecache.getline(file, line).strip(), "")


@lru_cache(64)
def _statements(file: str) -> dict[int, Statement]:
    lines = linecache.getlines(file)
    tree = syntax_tree("".join(lines))
    if tree is None:
        return {}
    found: dict[int, Statement] = {}
    for node in ast.walk(tree):  # the outer ones come first
        if isinstance(node, ast.stmt | ast.ExceptHandler):
            first, last = _head(node)
            text = _COMMENT.sub("  #", lines[first - 1].strip()) + (" …" if last > first else "")
            each = Statement(first, node.end_lineno or last, text, _kind(node), _calls_unseen(node))
            found.update(dict.fromkeys(range(first, last + 1), each))
    return found


_BODIES = {"body", "orelse", "finalbody", "handlers", "cases", "decorator_list"}


def _head(node: ast.stmt | ast.ExceptHandler) -> tuple[int, int]:
    """Return the first and the last line of a statement without its body."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    if not hasattr(node, "body") and not isinstance(node, ast.Match):
        return first, node.end_lineno or first
    fields = [value for name, value in ast.iter_fields(node) if name not in _BODIES]
    parts = [part for value in fields for each in _nodes(value) for part in ast.walk(each)]
    return first, max([node.lineno, *(getattr(part, "end_lineno", None) or 0 for part in parts)])


def _nodes(value: object) -> list[ast.AST]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, ast.AST)]


def _kind(node: ast.AST) -> str:
    """Return the name of its class; for an expression or a return that only has a value, a name for the value."""
    if isinstance(node, ast.Expr | ast.Return):
        if node.value is None or isinstance(node.value, ast.Constant | ast.Name | ast.Attribute):
            return "Constant"
        if isinstance(node.value, ast.Await):
            return "Await"
    return type(node).__name__


def _calls_unseen(node: ast.AST) -> bool:
    if type(node).__name__ in _BLOCKS:
        return True
    is_simple = not hasattr(node, "body")  # else its parts are statements of their own
    return is_simple and any(isinstance(each, ast.comprehension) and each.is_async for each in ast.walk(node))


_SILENT = frozenset(
    {"FunctionDef", "AsyncFunctionDef", "ClassDef", "Import", "ImportFrom", "Try", "TryStar", "Pass", "Constant"}
)
"""Statements that do nothing of interest to a reader of an interleaving."""

_BLOCKS = frozenset({"With", "AsyncWith", "For", "AsyncFor"})
"""Statements that are executed again after their body: to leave it, or for the next iteration."""


def statements(detail: StepDetail, got: str = "value") -> tuple[Line, ...]:
    """Return the statements that a step has executed, without those of no interest.

    A statement that receives the result that it has awaited, and uses it, is among them again, after an ellipsis.

    Args:
        detail: the details of the step.
        got: the delivery to the task, as in `Step.delivered`.
    """
    last = {(site.file, site.function): site.line for site in detail.resumed_at}
    until = [(site.file, statement(site.file, site.line).line) for site in detail.suspended_at]
    answered = _answered(detail) if got == "value" else []
    lines: list[Line] = []

    def add(line: Line) -> None:
        if not lines or _place(line) != _place(lines[-1]):
            lines.append(line)  # a comprehension is a function of its own until Python 3.11

    entered: set[tuple[str, int]] = set()
    for site, deep in detail.lines:
        is_first = (site.function, deep) not in entered
        entered.add((site.function, deep))
        if is_first and detail.resumed_at[deep : deep + 1] == (site,):
            continue  # since Python 3.12, a line at which an exception arrives is traced once more
        while answered and answered[-1].depth >= deep:
            add(answered.pop())
        found = statement(site.file, site.line)
        before = last.get((site.file, site.function), 0)
        last[site.file, site.function] = site.line
        is_executed_again = found.kind in _BLOCKS and found.line < before <= found.end
        if (
            found.kind in _SILENT
            or _is_incidental(site, deep)
            or (is_executed_again and (site.file, found.line) not in until)
        ):
            continue
        add(Line(site._replace(line=found.line), found.text, deep))
    for line in reversed(answered):
        add(line)
    while len(lines) > 1 and until and _only_waits(lines[-2], lines[-1], until):
        lines.pop()
        until.pop()
    return tuple(lines)


def _answered(detail: StepDetail) -> list[Line]:
    """Return the statements that receive and use a result in this step, outermost first."""
    lines = []
    for deep, site in enumerate(detail.resumed_at):
        is_still_waiting = detail.outcome is None and detail.suspended_at[deep : deep + 1] == (site,)
        ran = any(each.depth == deep and each.location.function == site.function for each in detail.lines)
        found = statement(site.file, site.line)
        if (ran or not is_still_waiting) and found.kind in _USES_ANSWER:
            lines.append(Line(site._replace(line=found.line), f"… {found.text}", deep))
    return lines


_USES_ANSWER = frozenset(
    {"Assign", "AugAssign", "AnnAssign", "Expr", "Return", "If", "While", "Assert", "Raise", "Match"}
)


def _is_incidental(site: SourceLocation, deep: int) -> bool:
    """Return True for the text of an object in an assertion, and for a lambda that stands in a statement."""
    return site.function.endswith("__repr__") or (deep > 0 and site.function.endswith("<lambda>"))


def _place(line: Line) -> tuple[str, int]:
    return line.site.file, line.site.line


def _only_waits(caller: Line, line: Line, until: list[tuple[str, int]]) -> bool:
    """Return True if a called function has done nothing but wait: the line that calls it says the same."""
    if statement(line.site.file, line.site.line).kind != "Await":
        return False
    if statement(caller.site.file, caller.site.line).calls_unseen:
        return False
    return caller.depth + 1 == line.depth and [_place(caller), _place(line)] == until[-2:]


def abbreviated(lines: tuple[Line, ...], file: str) -> list[tuple[Line | None, int]]:
    """Return the outer lines of a step, and those of called functions as far as there is room, each with its indent.

    Lines of other files than `file` and that of the outer lines are left out first, then the innermost ones.
    """
    if not lines:
        return []
    outermost = min(line.depth for line in lines)
    if len(lines) > _FEW:
        files = {file, *(line.site.file for line in lines if line.depth == outermost)}
        lines = tuple(line for line in lines if line.site.file in files)
    for depth in range(max(line.depth for line in lines), outermost - 1, -1):
        shown: list[tuple[Line | None, int]] = [(line, line.depth - outermost) for line in lines if line.depth <= depth]
        if len(shown) <= _LINES:
            return shown
    half = _LINES // 2
    return [*shown[: half - 1], (None, 0), *shown[-half:]]
