"""Project code, as opposed to libraries (rule 2 of the design).

Project code is everything under pytest's rootdir, the test's module, and a package whose source lies under the rootdir
even if an installed copy of it runs. Python itself and third-party packages are not, even if they lie there.

Private names of CPython used here: ``asyncio._get_running_loop`` and ``asyncio._set_running_loop``.
"""

import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"
"""The beginning of the paths of all files of this package."""

_OTHERS = {"site-packages", "dist-packages"}
_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


class ProjectCode(dict[str, bool]):
    """The files of code and whether each belongs to the project: ``is_project[code.co_filename]``.

    It is a dict that computes missing values, because it is queried for every task of a session.

    Args:
        rootdir: pytest's rootdir.
        packages: import names of packages that are project code wherever they lie (ini
            ``background_tasks_project_packages``).
    """

    def __init__(self, rootdir: Path, packages: Sequence[str] = ()) -> None:
        super().__init__()
        self._rootdir = rootdir
        self._packages = {tuple(package.split(".")) for package in packages}
        self._python = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}

    def __missing__(self, filename: str) -> bool:
        with loop_hidden():
            answer = self[filename] = self._judge(filename)
        return answer

    def _judge(self, filename: str) -> bool:
        if filename.startswith(("<frozen ", PACKAGE)):  # this plugin's own tests have its files under their rootdir
            return False
        if filename.startswith("<"):  # from a doctest, or compiled from a string, most likely by the test
            return True
        path = Path(filename)
        below = _path_below_others(path)
        if below is not None:
            return self._is_named(below) or self._has_source_here(below)
        if any(path.is_relative_to(python) or path.resolve().is_relative_to(python) for python in self._python):
            return False
        return path.is_relative_to(self._rootdir) or self._is_named(_path_below_sys_path(path))

    def _is_named(self, below: Path) -> bool:
        parts = below.with_suffix("").parts
        return any(parts[: len(package)] == package for package in self._packages)

    def _has_source_here(self, below: Path) -> bool:
        return any((root / below).is_file() for root in self._source_roots)

    @cached_property
    def _source_roots(self) -> list[Path]:
        """The source folders of the project, and of projects up to two folders below it (a monorepo)."""
        projects = [self._rootdir]
        for depth in ("*", "*/*"):
            for name in _PROJECT_FILES:
                projects += [found.parent for found in self._rootdir.glob(f"{depth}/{name}")]
        return [root for project in projects for root in (project, project / "src", project / "lib")]


@contextmanager
def loop_hidden() -> Iterator[None]:
    """Hide the running loop from tools like blockbuster, which raise if a file is read in a running loop."""
    asyncio = sys.modules.get("asyncio")
    loop = asyncio and asyncio._get_running_loop()
    if asyncio is None or loop is None:
        yield
        return
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)


def _path_below_others(path: Path) -> Path | None:
    """Return `path` relative to its site-packages folder; None if it is not in one."""
    for place in range(len(path.parts) - 1, -1, -1):
        if path.parts[place] in _OTHERS:
            return Path(*path.parts[place + 1 :])
    return None


def package_of(filename: str) -> str:
    """Return the import name of the third-party package that a file of code belongs to; empty for other files.

    >>> package_of("/srv/.venv/lib/python3.12/site-packages/async_lru/__init__.py")
    'async_lru'
    """
    below = None if filename.startswith(PACKAGE) else _path_below_others(Path(filename))
    return "" if below is None else below.with_suffix("").parts[0]


def import_name_of(filename: str) -> str:
    """Return the import name of the package that a file of code belongs to; empty if it is not a file.

    >>> import_name_of("/srv/.venv/lib/python3.12/site-packages/quart/app.py")
    'quart'
    """
    if filename.startswith("<"):
        return ""
    below = _path_below_sys_path(Path(filename))
    return package_of(filename) or ("" if below.is_absolute() else below.with_suffix("").parts[0])


def _path_below_sys_path(path: Path) -> Path:
    """Return `path` relative to the longest entry of ``sys.path`` above it: the name of its module as a path."""
    entries = [entry for entry in map(Path, sys.path) if entry.is_absolute() and path.is_relative_to(entry)]
    return path.relative_to(max(entries, key=lambda entry: len(entry.parts))) if entries else path
