"""The HTML report of a failed exploration: its directory and its file name.

One directory contains the reports of all failed tests, each named after its test. The default is ``.explore`` in the
rootdir. A directory that is created here is ignored by git, like pytest's cache; an existing one is not changed.
"""

from __future__ import annotations

import hashlib
import linecache
import re
from pathlib import Path

import pytest

from ..._explore.result import Failure
from ..._introspect.location import shown_file
from ..._report.html import files_of, page
from ..._report.model import failure_view
from .settings import REPORT

_OFF = ("", "no")  # an empty path would be the current directory
_LONGEST = 80  # largest number of characters of a test's name in a file name
_IGNORE = "# Created by pytest-background-tasks: reports of explored tests that failed.\n*\n"


def report_line(item: pytest.Item, failure: Failure, text: str, replay: str) -> str:
    """Write the report of a failed test and return a line with its path; empty if reports are turned off.

    If it cannot be written, the line says why, so that the test's own failure remains visible.
    """
    folder = _folder(item.config)
    if folder is None:
        return ""
    path = folder / file_name(item.nodeid)
    try:
        _make(folder)
        path.write_text(_page(item, failure, text, replay), encoding="ascii")
    except OSError as error:
        return f"report:  cannot write {shown_file(str(path))}: {error.strerror or error}"
    return f"report:  {shown_file(str(path))}"


def _folder(config: pytest.Config) -> Path | None:
    given, base = config.getoption(REPORT.ini), config.invocation_params.dir
    if given is None:
        given, base = config.getini(REPORT.ini), config.rootpath
    if given is None:
        given = REPORT.example
    return None if given in _OFF else base / given


def _make(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:  # another xdist worker may have created it
        return
    (folder / ".gitignore").write_text(_IGNORE, encoding="ascii")


def file_name(nodeid: str) -> str:
    """Return the file name for a test: valid on every file system, and unique.

    >>> file_name("tests/test_shop.py::TestSale::test_two[a/b]")
    'test_two-a-b-657b788a.html'
    """
    name = re.sub(r"[^A-Za-z0-9_]+", "-", nodeid.rpartition("::")[2])
    digest = hashlib.sha256(nodeid.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name[:_LONGEST].strip('-') or 'test'}-{digest[:8]}.html"


def _page(item: pytest.Item, failure: Failure, text: str, replay: str) -> str:
    view = failure_view(failure)
    return page(
        view,
        title=item.nodeid,
        error="\n".join(_error_lines(failure.error)),
        text=text,
        replay=replay,
        sources={file: linecache.getlines(file) for file in files_of(view)},
    )


def _error_lines(error: BaseException, indent: str = "") -> list[str]:
    """Return the lines of an error: its message and notes, and for a group the errors in it."""
    said = f"{type(error).__qualname__}: {error}".removesuffix(": ")
    lines = [f"{indent}{line}" for line in [*said.splitlines(), *getattr(error, "__notes__", ())]]
    for each in getattr(error, "exceptions", ()):
        lines += _error_lines(each, f"{indent}  ")
    return lines
