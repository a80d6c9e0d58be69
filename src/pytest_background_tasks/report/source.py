"""What was run, as statements of the user's source."""

from __future__ import annotations

import ast
import linecache
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ..explorer.trace import Told
from ..sites import Site
from ..syntax import syntax_tree


@dataclass(frozen=True, slots=True)
class Line:
    """A line of source.

    Attributes:
        site: where it is.
        text: what stands there, without its indentation; empty if the file cannot be read.
        deep: how many functions below the one in which the step began; of lines that were run only.
    """

    site: Site
    text: str
    deep: int = 0


_FEW, _LINES = 5, 8  # lines of one step that are shown: up to so many of any file, and at all
_COMMENT = re.compile(r"\s+#")  # set apart by two blanks, however they were aligned


class Statement(NamedTuple):
    """A statement; of a compound one its head.

    Attributes:
        line: where it begins.
        end: the last line of all of it, its body included.
        text: its first line without indentation; with an ellipsis if there are more.
        kind: the name of its class in the `ast` module; empty if the source cannot be parsed.
        calls_unseen: whether it calls functions that it does not name: ``__aexit__``, what a generator does next.
    """

    line: int
    end: int
    text: str
    kind: str
    calls_unseen: bool = False


def statement(file: str, line: int) -> Statement:
    """The innermost statement at this line; the line alone if there is none."""
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
    """The first and the last line of a statement without its body."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    if not hasattr(node, "body") and not isinstance(node, ast.Match):
        return first, node.end_lineno or first
    fields = [value for name, value in ast.iter_fields(node) if name not in _BODIES]
    parts = [part for value in fields for each in _nodes(value) for part in ast.walk(each)]
    return first, max([node.lineno, *(getattr(part, "end_lineno", None) or 0 for part in parts)])


def _nodes(value: object) -> list[ast.AST]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, ast.AST)]


def _kind(node: ast.AST) -> str:
    """Its class; of an expression or a return of which the value is all, that of the value."""
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
"""Statements that do nothing a reader of an interleaving looks for."""

_BLOCKS = frozenset({"With", "AsyncWith", "For", "AsyncFor"})
"""Statements that come by again when their body has been run: to leave it, or to go round."""


def statements(told: Told, got: str = "value") -> tuple[Line, ...]:
    """What a step has run, without what says nothing.

    A statement that gets what it has waited for, and has more to do with that, is there again, behind an ellipsis.
    """
    last = {(site.file, site.function): site.line for site in told.at}
    until = [(site.file, statement(site.file, site.line).line) for site in told.until]
    answered = _answered(told) if got == "value" else []
    lines: list[Line] = []

    def add(line: Line) -> None:
        if not lines or _place(line) != _place(lines[-1]):
            lines.append(line)  # a comprehension is a function of its own until Python 3.11

    entered: set[tuple[str, int]] = set()
    for site, deep in told.ran:
        is_first = (site.function, deep) not in entered
        entered.add((site.function, deep))
        if is_first and told.at[deep : deep + 1] == (site,):
            continue  # since Python 3.12, the line at which an error arrives comes by once more
        while answered and answered[-1].deep >= deep:
            add(answered.pop())
        found = statement(site.file, site.line)
        before = last.get((site.file, site.function), 0)
        last[site.file, site.function] = site.line
        comes_by_again = found.kind in _BLOCKS and found.line < before <= found.end
        if found.kind in _SILENT or _is_aside(site, deep) or (comes_by_again and (site.file, found.line) not in until):
            continue
        add(Line(site._replace(line=found.line), found.text, deep))
    for line in reversed(answered):
        add(line)
    while len(lines) > 1 and until and _passes_on(lines[-2], lines[-1], until):
        lines.pop()
        until.pop()
    return tuple(lines)


def _answered(told: Told) -> list[Line]:
    """The statements that get what they have waited for in this step, outermost first; not those that only wait."""
    lines = []
    for deep, site in enumerate(told.at):
        waits_on = not told.end and told.until[deep : deep + 1] == (site,)
        ran = any(each.deep == deep and each.site.function == site.function for each in told.ran)
        found = statement(site.file, site.line)
        if (ran or not waits_on) and found.kind in _USES_ANSWER:
            lines.append(Line(site._replace(line=found.line), f"… {found.text}", deep))
    return lines


_USES_ANSWER = frozenset(
    {"Assign", "AugAssign", "AnnAssign", "Expr", "Return", "If", "While", "Assert", "Raise", "Match"}
)


def _is_aside(site: Site, deep: int) -> bool:
    """What is run in passing: the text of an object for an assertion, the function that stands in a statement."""
    return site.function.endswith("__repr__") or (deep > 0 and site.function.endswith("<lambda>"))


def _place(line: Line) -> tuple[str, int]:
    return line.site.file, line.site.line


def _passes_on(caller: Line, line: Line, until: list[tuple[str, int]]) -> bool:
    """Whether a function has done nothing but wait: the line that has called it says as much."""
    if statement(line.site.file, line.site.line).kind != "Await":
        return False
    if statement(caller.site.file, caller.site.line).calls_unseen:
        return False
    return caller.deep + 1 == line.deep and [_place(caller), _place(line)] == until[-2:]


def in_short(lines: tuple[Line, ...], file: str) -> list[tuple[Line | None, int]]:
    """The outer lines of a step, and those in functions called as far as there is room; each with its indent.

    First those give way that are in other files than `file` and the outer ones, then the innermost.
    """
    if not lines:
        return []
    least = min(line.deep for line in lines)
    if len(lines) > _FEW:
        files = {file, *(line.site.file for line in lines if line.deep == least)}
        lines = tuple(line for line in lines if line.site.file in files)
    for deep in range(max(line.deep for line in lines), least - 1, -1):
        shown: list[tuple[Line | None, int]] = [(line, line.deep - least) for line in lines if line.deep <= deep]
        if len(shown) <= _LINES:
            return shown
    half = _LINES // 2
    return [*shown[: half - 1], (None, 0), *shown[-half:]]
