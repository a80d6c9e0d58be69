"""Test ids and other words as one types them on a command line."""

import os
import re
import shlex
import sys

import pytest


def relative(config: pytest.Config, nodeid: str) -> str:
    """Return `nodeid` with its path relative to the directory in which pytest was started, instead of the rootdir."""
    # `config.cwd_relative_nodeid` expects another type of id from pytest 9.2 on.
    path, *names = nodeid.split("::")
    if config.invocation_params.dir == config.rootpath:
        return nodeid
    return "::".join([os.path.relpath(config.rootpath / path, config.invocation_params.dir), *names])


def quoted(text: str, *, is_windows: bool = sys.platform == "win32") -> str:
    """Return `text` as one word of a command line, quoted for POSIX shells or for Windows.

    On Windows, single quotes do not quote, but double quotes do in each of its shells. A double quote inside is escaped
    as C programs expect it.

    >>> quoted("test_it.py::test_it[a b]", is_windows=False), quoted("test_it.py::test_it[a b]", is_windows=True)
    ("'test_it.py::test_it[a b]'", '"test_it.py::test_it[a b]"')
    """
    if not is_windows:
        return shlex.quote(text)
    if re.fullmatch(r"[\w@+=:./\\-]+", text, re.ASCII):
        return text
    return '"{}"'.format(
        re.sub(r'(\\*)("|\Z)', lambda found: found[1] * 2 + ("\\" if found[2] else "") + found[2], text)
    )
