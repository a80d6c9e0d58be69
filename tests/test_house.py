"""The imports that the architecture allows (section 8 of the design)."""

import ast
import importlib
import pickle
import pkgutil
from pathlib import Path

import pytest

import pytest_background_tasks
from pytest_background_tasks.syntax import syntax_tree

ROOT = Path(pytest_background_tasks.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def imports(path: Path) -> set[str]:
    """Return the names of all modules that `path` imports, absolute; those of this package without its name."""
    package = ["pytest_background_tasks", *path.relative_to(ROOT).parent.parts]
    found = set()
    tree = syntax_tree(path.read_text())
    assert tree is not None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            found.add(".".join([*base, *([node.module] if node.module else [])]))
    return {name.removeprefix("pytest_background_tasks.") for name in found}


def test_plugin_module_is_not_imported() -> None:
    assert [name for name, path in MODULES.items() if "plugin" in imports(path)] == []


@pytest.mark.parametrize("engine_package", ["capture", "control", "explorer", "watch"])
def test_engine_does_not_import_pytest(engine_package: str) -> None:
    """Only these modules import pytest: hooks, objects of a session, and the warnings, so that filters find them."""
    knowing = [name for name, path in MODULES.items() if {"pytest", "_pytest", "_pytest.tmpdir"} & imports(path)]
    assert {name.partition(".")[0] for name in knowing} == {
        "plugin",
        "session",
        "exploring",
        "standstills",
        "warnings",
        "watching",
    }
    assert any(name.startswith(engine_package) for name in MODULES)


def test_capture_does_not_import_control() -> None:
    """Holding a task does not depend on how it is run."""
    for name, path in MODULES.items():
        if name.startswith("capture"):
            assert not [other for other in imports(path) if other.startswith(("control", "fixture"))], name


def test_explorer_imports_neither_capture_nor_control() -> None:
    """It neither holds tasks nor runs held tasks."""
    for name, path in MODULES.items():
        if name.startswith("explorer"):
            assert not [other for other in imports(path) if other.startswith(("capture", "control", "fixture"))], name


@pytest.mark.parametrize("noun", ["schedule", "trace", "options", "actors", "search", "minimise", "exploration"])
def test_search_does_not_import_asyncio(noun: str) -> None:
    """Schedules, traces and the decisions about them are values, independent of the event loop."""
    seen, todo = set(), [f"explorer.{noun}"]
    while todo:
        path = MODULES[todo.pop()]
        assert not {"asyncio"} & {name.partition(".")[0] for name in imports(path)}, path
        seen.add(path)
        todo += [name for name in imports(path) if name in MODULES and MODULES[name] not in seen]


def test_optional_packages_are_imported_only_in_modules_of_their_name() -> None:
    """Only the file named after an optional library imports it at the top of the module."""
    for name, path in MODULES.items():
        foreign = {other.partition(".")[0] for other in imports(path)} & {"starlette", "fastapi", "uvloop", "anyio"}
        assert foreign <= {name.rpartition(".")[2]}, name


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
