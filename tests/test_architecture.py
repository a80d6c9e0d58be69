"""The imports that the architecture allows (section 8 of the design)."""

import ast
import asyncio
import importlib
import pickle
import pkgutil
import re
from pathlib import Path

import pytest

import pytest_background_tasks
from pytest_background_tasks._introspect.syntax import syntax_tree

ROOT = Path(pytest_background_tasks.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
    for path in ROOT.rglob("*.py")
}


FLOORS = (
    {"errors"},
    {"_introspect"},
    {"_asyncio"},
    {"_network"},
    {"_capture", "_explore"},
    {"_control", "_monitor", "_report"},
    {"virtual_time", "virtual_network", "fixture", "warnings"},
    {"plugin"},
)
"""The entries of the package, from the lowest floor up. Each may import those of lower floors only."""


def imports(path: Path) -> set[str]:
    """Return the names of all modules that `path` imports, absolute.

    Imports inside functions and imports for types only count like the others.
    """
    package = ["pytest_background_tasks", *path.relative_to(ROOT).parent.parts]
    found = set()
    tree = syntax_tree(path.read_text())
    assert tree is not None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*(package[: len(package) - node.level + 1] if node.level else []), *(node.module or "").split(".")]
            names = [".".join(filter(None, [*base, alias.name])) for alias in node.names]
            modules = {name for name in names if name.removeprefix("pytest_background_tasks.") in MODULES}
            found |= modules or {".".join(filter(None, base))}
    return found


def own_imports(name: str, path: Path) -> set[str]:
    """Return the names of the modules of this package that `path` imports, without the name of the package."""
    prefix = "pytest_background_tasks."
    return {each.removeprefix(prefix) for each in imports(path) if each.startswith(prefix)} & MODULES.keys() - {name}


IMPORTS = {name: own_imports(name, path) for name, path in MODULES.items() if name}


def test_entries_import_only_entries_of_lower_floors() -> None:
    """The package itself, which exports public names lazily, is the exception."""
    floor = {entry: number for number, entries in enumerate(FLOORS) for entry in entries}
    assert floor.keys() == {name.partition(".")[0] for name in MODULES if name}
    upward = [
        f"{name} -> {other}"
        for name, others in IMPORTS.items()
        for other in others
        if (here := name.partition(".")[0]) != (there := other.partition(".")[0]) and floor[here] <= floor[there]
    ]
    assert upward == []


def test_modules_import_each_other_in_no_cycle() -> None:
    """Neither lazily, nor for types."""
    remaining = dict(IMPORTS)
    while free := [name for name, others in remaining.items() if not others & remaining.keys()]:
        for name in free:
            del remaining[name]
    assert remaining == {}


def test_pytest_is_imported_only_in_the_plugin_and_the_warnings() -> None:
    """Filters of warnings find their classes by the name of pytest's."""
    importing = {name.partition(".")[0] for name, path in MODULES.items() if _roots(path) & {"pytest", "_pytest"}}
    assert importing == {"plugin", "warnings"}


def test_plugin_uses_no_private_attribute_of_another_object() -> None:
    """It talks to the `TestContext`; only `plugin/explore/` needs private attributes, which are pytest's."""
    for name, path in MODULES.items():
        if name.partition(".")[0] == "plugin" and not name.startswith("plugin.explore"):
            tree = syntax_tree(path.read_text())
            assert tree is not None
            private = [
                ast.unparse(node)
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute)
                and re.match("_[a-z]", node.attr)
                and ast.unparse(node.value) != "self"
            ]
            assert private == [], name


def test_reports_import_neither_asyncio_nor_the_engines_of_held_tasks() -> None:
    """They see values; `Explorer`, which adds a report to a failure, is the exception."""
    for name, path in MODULES.items():
        if name.startswith("_report.") and name != "_report.explorer":
            assert "asyncio" not in _roots(path), name
            assert not {other.partition(".")[0] for other in IMPORTS[name]} & {"_capture", "_control"}, name


def _roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


@pytest.mark.parametrize("noun", ["schedule", "trace", "options", "task_names", "search", "shrink", "result"])
def test_search_does_not_import_asyncio(noun: str) -> None:
    """Schedules, traces and the decisions about them are values, independent of the event loop."""
    name_of = {path: name for name, path in MODULES.items()}
    seen, todo = set(), [f"_explore.{noun}"]
    while todo:
        path = MODULES[todo.pop()]
        assert not {"asyncio"} & {name.partition(".")[0] for name in imports(path)}, path
        seen.add(path)
        todo += [name for name in IMPORTS[name_of[path]] if MODULES[name] not in seen]


def test_optional_packages_are_imported_only_in_modules_of_their_name() -> None:
    """Only the file named after an optional library imports it at the top of the module."""
    for name, path in MODULES.items():
        foreign = {other.partition(".")[0] for other in imports(path)} & {"starlette", "fastapi", "uvloop", "anyio"}
        assert foreign <= {name.rpartition(".")[2]}, name


PARTS_OF_LOOPS = {
    *("_asyncio", "_explore", "_capture.held_task"),
    *("_control.nested_loop", "_control.step_gate", "_control.virtual_clock"),
}
"""The packages and modules that are parts of an event loop or a task of our own."""


def test_private_names_of_asyncio_are_read_in_one_file() -> None:
    """Elsewhere, functions of `internals` read them, except for parts of a loop or a task of our own."""
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    handles = loop.call_soon(int), loop.call_later(1, int)
    private = {
        name
        for thing in (loop, loop._selector, future, asyncio.Task, *handles)  # type: ignore[attr-defined]
        for name in dir(thing)
        if name.startswith("_") and not name.startswith("__")
    }
    loop.close()
    assert {"_fut_waiter", "_ready", "_scheduled", "_log_traceback", "_callbacks", "_fd_to_key"} <= private
    reading = {
        f"{name}: {attribute}"
        for name, path in MODULES.items()
        if name not in PARTS_OF_LOOPS and name.partition(".")[0] not in PARTS_OF_LOOPS
        for attribute in _attributes_of_others(path) & private
    }
    assert {each for each in reading if not each.startswith("_introspect.internals: ")} == set()
    assert len(reading) > 5


def _attributes_of_others(path: Path) -> set[str]:
    """Return the names of the attributes that `path` reads or sets on objects other than ``self``."""
    found = set()
    tree = syntax_tree(path.read_text())
    assert tree is not None
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            found.add(node.attr)
        match node:
            case ast.Call(ast.Name("attribute" | "getattr" | "setattr" | "hasattr"), [_, ast.Constant(name), *_]):
                found.add(str(name))
    return found


def test_modules_have_at_most_400_lines() -> None:
    assert {name: count for name, path in MODULES.items() if (count := len(path.read_text().splitlines())) > 400} == {}


def test_errors_and_warnings_are_shown_by_the_name_that_users_import() -> None:
    """As ``pytest_background_tasks.DeadlockError``, without the module that defines it."""
    for name in pytest_background_tasks.__all__:
        public = getattr(pytest_background_tasks, name)
        if isinstance(public, type) and issubclass(public, Exception):
            assert public.__module__ == "pytest_background_tasks", name
            assert pickle.loads(pickle.dumps(public)) is public


def test_public_names_can_be_imported_and_have_docstrings() -> None:
    assert dir(pytest_background_tasks) == pytest_background_tasks.__all__
    for name in set(pytest_background_tasks.__all__) - {"Target"}:  # an alias cannot carry a docstring
        assert getattr(pytest_background_tasks, name).__doc__, name
    assert "Target" in pytest_background_tasks.__all__
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        pytest_background_tasks.nonsense  # noqa: B018
    for module in pkgutil.walk_packages([str(ROOT)], "pytest_background_tasks."):
        assert importlib.import_module(module.name).__doc__, module.name
