"""The page that shows a failed exploration: where it is kept, and under which name.

One folder holds the pages of all failed tests, each named after its test. It is ``.explore`` beside pytest's own cache
if nobody says otherwise. A folder that is made here is ignored by git, as pytest's cache is; one that was there is not
touched.
"""

from __future__ import annotations

import hashlib
import linecache
import re
from pathlib import Path

import pytest

from ..explorer.exploration import Failure
from ..report.page import files_of, page
from ..report.story import failure_view
from ..sites import shown_file
from .settings import REPORT

_OFF = ("", "no")  # an empty path would be the current folder
_LONGEST = 80  # characters of a test's name in that of its file
_IGNORE = "# Made by pytest-background-tasks: pages that show why explored tests failed.\n*\n"


def picture_line(item: pytest.Item, failure: Failure, text: str, replay: str) -> str:
    """Make the page of a failed test, and say where it is; empty if none is wanted.

    Whatever prevents it is said, and hides neither the test's own failure nor the text.
    """
    folder = _folder(item.config)
    if folder is None:
        return ""
    path = folder / file_name(item.nodeid)
    try:
        _make(folder)
        path.write_text(_page(item, failure, text, replay), encoding="ascii")
    except OSError as error:
        return f"picture: none, for {shown_file(str(path))} cannot be written: {error.strerror or error}"
    return f"picture: {shown_file(str(path))}"


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
    except FileExistsError:  # also if another worker of xdist was faster
        return
    (folder / ".gitignore").write_text(_IGNORE, encoding="ascii")


def file_name(nodeid: str) -> str:
    """The name of the file for a test: safe on every file system, and no other test's.

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
        error="\n".join(_said(failure.error)),
        text=text,
        replay=replay,
        sources={file: linecache.getlines(file) for file in files_of(view)},
    )


def _said(error: BaseException, indent: str = "") -> list[str]:
    """An error with its message, and the errors in it if it is a group."""
    said = f"{type(error).__qualname__}: {error}".removesuffix(": ")
    lines = [f"{indent}{line}" for line in [*said.splitlines(), *getattr(error, "__notes__", ())]]
    for each in getattr(error, "exceptions", ()):
        lines += _said(each, f"{indent}  ")
    return lines
