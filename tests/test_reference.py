"""The reference is complete: it has every name that a user can use, with the text of the code.

After a change of these words: ``WRITE_REFERENCE=1 pytest tests/test_reference.py`` writes the tables of the page anew.
"""

import ast
import inspect
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import pytest_background_tasks
from pytest_background_tasks import Explorer, plugin
from pytest_background_tasks._explore.options import ExplorerArguments
from pytest_background_tasks.plugin.explore.decorator import ExploreArguments

DOCS = Path(__file__).parents[1] / "docs"
SOURCE = Path(__file__).parents[1] / "src"
TABLE = re.compile(r"^\|.*\n\| ---.*(?:\n\|.*)*", re.MULTILINE)
PUBLIC = {name: getattr(pytest_background_tasks, name) for name in pytest_background_tasks.__all__}


class Options:
    """A stand-in for pytest's parser and plugins, which stores the texts of options by their ini names."""

    def __init__(self) -> None:
        self.ini: dict[str, str] = {}
        self.command_line: dict[str, str] = {}
        plugin.pytest_addoption(self, self)

    def register(self, plugin: Any, name: str) -> None:
        plugin.pytest_addoption(self)

    def addini(self, name: str, help: str, type: str = "string", default: Any = None) -> None:  # noqa: A002 - pytest's words
        is_told = not default or "default" in help
        self.ini[name] = help.removeprefix("@explore: ") + ("" if is_told else f" (default: {default})")

    def getgroup(self, name: str, description: str = "") -> "Options":
        return self

    def addoption(self, flag: str, *, help: str, **_: Any) -> None:  # noqa: A002
        self.command_line[flag.removeprefix("--").replace("-", "_")] = help


def table(*titles: str, rows: Iterable[tuple[str, ...]]) -> str:
    cells = [titles, ("---",) * len(titles), *(tuple(cell.replace("|", r"\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def first_sentence(thing: object) -> str:
    return re.sub(r"`+", "`", " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split()))


def table_of_options() -> str:
    options = Options()
    rows = [
        (
            f"`{name}`" if name in options.ini else "",
            f"`--{name.replace('_', '-')}`" if name in options.command_line else "",
            options.ini.get(name) or options.command_line[name],
        )
        for name in sorted({*options.ini, *options.command_line})
    ]
    return table("ini file", "command line", "", rows=rows)


def table_of_marks(config: pytest.Config) -> str:
    own = re.compile(r"(background_tasks|(no_)?explore(_accept)?)\b")
    marks = sorted(line for line in config.getini("markers") if own.match(line))
    return table("mark", "", rows=[(f"`{mark}`", what.strip()) for mark, _, what in (m.partition(":") for m in marks)])


def is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Exception)


def table_of_names() -> str:
    rows = [
        (f"`{name}`", "which captured tasks a call means" if name == "Target" else first_sentence(thing))
        for name, thing in PUBLIC.items()
        if not is_error(thing)
    ]
    return table("name", "", rows=rows)


def table_of_errors(kind: type[Exception], but: type[Exception] | None = None) -> str:
    """Return a table of errors, each with the first sentence of its docstring; the docstring also names the cure."""
    rows = [
        (f"`{name}`", first_sentence(thing))
        for name, thing in PUBLIC.items()
        if is_error(thing) and issubclass(thing, kind) and not (but and issubclass(thing, but))
    ]
    return table("name", "", rows=rows)


def test_reference_tables_are_up_to_date(request: pytest.FixtureRequest) -> None:
    """docs/reference.md has all options, marks, names, errors and warnings, in the words of the code."""
    tables = [
        table_of_options(),
        table_of_marks(request.config),
        table_of_names(),
        table_of_errors(Exception, but=Warning),
        table_of_errors(Warning),
    ]
    page = (DOCS / "reference.md").read_text()
    if os.environ.get("WRITE_REFERENCE"):
        todo = iter(tables)
        page = TABLE.sub(lambda found: found[0] if found[0].startswith("| fixture") else next(todo), page)
        (DOCS / "reference.md").write_text(page)
    assert [each for each in tables if each not in page] == []


def test_every_fixture_is_listed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference names each fixture, and links its description."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    shown = pytester.runpytest_inprocess("-p", "pytest_background_tasks.plugin", "--fixtures").stdout.str()
    fixtures = re.findall(r"^(\w+) -- .*pytest_background_tasks", shown, re.MULTILINE)
    assert len(fixtures) >= 2
    page = (DOCS / "reference.md").read_text()
    assert [name for name in fixtures if f"| [`{name}`](" not in page] == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("fixture.md", ("BackgroundTasks", "CapturedTask", "WaitPoint", "SourceLocation")),
        ("virtual-time.md", ("VirtualTime",)),
    ],
)
def test_every_member_is_described(page: str, names: tuple[str, ...]) -> None:
    """The page of a class names all its public members."""
    text = (DOCS / page).read_text()
    for name in names:
        members = {member for member in dir(PUBLIC[name]) if not member.startswith("_")} - set(dir(tuple))
        assert members, name
        assert {member for member in members if not re.search(rf"`[^`]*\b{member}\b", text)} == set(), name


def test_every_keyword_of_explore_is_described() -> None:
    """The table of options on its page names every keyword."""
    text = (DOCS / "explore.md").read_text()
    assert [name for name in ExploreArguments.__annotations__ if f"| `{name}` |" not in text] == []


def test_every_public_name_has_its_docstring_in_the_documentation() -> None:
    """autodoc renders it on the page that is made of docstrings; an alias has no docstring."""
    shown = re.findall(r"^\.\. auto\w+:: (\w+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert sorted(shown) == sorted({*PUBLIC} - {"Target"})


def test_arguments_and_attributes_in_docstrings_exist() -> None:
    """A docstring names the parameters of a function, those of a class or its keyword arguments, and its attributes."""
    wrong, count = [], 0
    for path in SOURCE.rglob("*.py"):
        module = ast.parse(path.read_text())
        for node in ast.walk(module):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                named = _named_in(ast.get_docstring(node) or "")
                count += len(named)
                wrong += [f"{path.name}, {node.name}: {name}" for name in named if name not in _names_of(node, module)]
    assert not wrong, "\n".join(wrong)
    assert count > 300
    assert _named_in(inspect.getdoc(Explorer)) == {*get_type_hints(ExplorerArguments)}


def _named_in(docstring: str) -> set[str]:
    sections = re.findall(r"^(?:Args|Attributes):\n((?:    .*\n?)+)", docstring, re.MULTILINE)
    return {name for section in sections for name in re.findall(r"^    \*{0,2}(\w+): ", section, re.MULTILINE)}


def _names_of(node: ast.AST, module: ast.Module) -> set[str]:
    """Return the names of parameters, attributes and methods in `node`; those of keyword arguments, if it has some."""
    has_bases = isinstance(node, ast.ClassDef) and bool(node.bases)  # bases with attributes are in the same module
    inside = list(ast.walk(module if has_bases else node))
    keywords = (
        {*get_type_hints(ExplorerArguments)} if isinstance(node, ast.ClassDef) and node.name == "Explorer" else set()
    )
    return (
        keywords
        | {each.arg for each in inside if isinstance(each, ast.arg)}
        | {each.attr for each in inside if isinstance(each, ast.Attribute)}
        | {each.id for each in inside if isinstance(each, ast.Name)}
        | {each.name for each in inside if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}
    )
