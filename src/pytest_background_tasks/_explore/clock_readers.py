"""The code whose clocks follow virtual time while exploring: the project and the libraries that it uses.

Python's own modules keep the real clocks, because threads, processes and selectors really wait; so do pytest and what
measures or runs tests.
"""

import os
import sysconfig
from pathlib import Path

from .._introspect.project_code import PACKAGE

_OF_TESTS = frozenset({"_hypothesis_pytestplugin", "_pytest", "coverage", "hypothesis", "pluggy", "pytest", "xdist"})
_PLUGINS = ("pytest_",)  # the beginning of the names of pytest's plugins


class ClockReaders(dict[str, bool]):
    """The files of code and whether their clocks follow virtual time; a dict that computes missing values."""

    def __init__(self) -> None:
        super().__init__()
        self._python = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib"))
        self._libraries = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("purelib", "platlib"))

    def __missing__(self, filename: str) -> bool:
        answer = self[filename] = self._judge(filename)
        return answer

    def _judge(self, filename: str) -> bool:
        if filename.startswith(("<frozen ", PACKAGE)):
            return False
        for libraries in self._libraries:
            if filename.startswith(libraries):
                package = Path(filename.removeprefix(libraries)).parts[0].removesuffix(".py")
                return package not in _OF_TESTS and not package.startswith(_PLUGINS)
        return not filename.startswith(self._python)
