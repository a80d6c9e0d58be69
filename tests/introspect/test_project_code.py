"""Project code, as opposed to libraries (rule 2)."""

import asyncio
import sys
import sysconfig
from pathlib import Path

import pytest

from pytest_background_tasks._introspect.location import SourceLocation
from pytest_background_tasks._introspect.project_code import ProjectCode


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project that contains its environment, and another project in a subfolder."""
    for file in (
        "src/shop/orders.py",
        "tests/test_orders.py",
        ".venv/lib/python3.13/site-packages/aiolib/client.py",
        ".venv/lib/python3.13/site-packages/shop/orders.py",
        ".venv/lib/python3.13/site-packages/stock/count.py",
        "services/stock/pyproject.toml",
        "services/stock/src/stock/count.py",
    ):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


SITE = ".venv/lib/python3.13/site-packages"


@pytest.mark.parametrize("file", ["src/shop/orders.py", "tests/test_orders.py", "conftest.py"])
def test_files_under_the_rootdir_are_project_code(root: Path, file: str) -> None:
    assert ProjectCode(root)[str(root / file)]


def test_installed_packages_are_not_project_code(root: Path) -> None:
    """This holds even if the environment is under the rootdir."""
    assert not ProjectCode(root)[str(root / SITE / "aiolib/client.py")]


@pytest.mark.parametrize("file", ["shop/orders.py", "stock/count.py"])
def test_installed_copy_of_project_source_is_project_code(root: Path, file: str) -> None:
    """This holds for the project, and for a project in a subfolder."""
    assert ProjectCode(root)[str(root / SITE / file)]


def test_standard_library_under_the_rootdir_is_not_project_code() -> None:
    library = Path(sysconfig.get_path("stdlib"))
    assert not ProjectCode(library.parent)[str(library / "asyncio" / "tasks.py")]
    assert not ProjectCode(library.parent)["<frozen runpy>"]


def test_code_without_a_file_is_project_code(root: Path) -> None:
    assert ProjectCode(root)["<doctest test.md[0]>"]


def test_installed_package_can_be_declared_project_code(root: Path) -> None:
    """The option may name a package or a part of it, in site-packages or on sys.path."""
    file = str(root / SITE / "aiolib/client.py")
    assert ProjectCode(root, ["aiolib"])[file]
    assert ProjectCode(root, ["aiolib.client"])[file]
    assert not ProjectCode(root, ["aiolib.server", "aio"])[file]


def test_declared_package_can_be_anywhere_on_the_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root / "src"))
    elsewhere = root / "tests"
    assert ProjectCode(elsewhere, ["shop"])[str(root / "src/shop/orders.py")]
    assert not ProjectCode(elsewhere)[str(root / "src/shop/orders.py")]


def test_declared_package_is_not_imported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names in an ini file are only compared."""
    package = root / "src" / "explosive"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(str(root / "src"))
    assert ProjectCode(root / "tests", ["explosive.parts"])[str(package / "parts.py")]
    assert "explosive" not in sys.modules


def test_lookup_makes_no_blocking_call_in_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called when tasks are created. Tools like blockbuster raise if a running loop is blocked."""
    look = Path.glob

    def glob(self: Path, pattern: str) -> object:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        looks.append(pattern)
        return look(self, pattern)

    looks: list[str] = []
    monkeypatch.setattr(Path, "glob", glob)

    async def ask() -> bool:
        answer = ProjectCode(tmp_path)["/somewhere/site-packages/library.py"]
        asyncio.get_running_loop()
        return answer

    assert asyncio.run(ask()) is False
    assert looks


def test_formatting_a_location_makes_no_blocking_call_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is raised inside the loop names lines."""
    look = Path.cwd

    def cwd() -> Path:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return look()

    monkeypatch.setattr(Path, "cwd", cwd)

    async def show() -> str:
        return str(SourceLocation(str(look() / "shop.py"), 3, "buy"))

    assert asyncio.run(show()) == "shop.py:3 in buy"
