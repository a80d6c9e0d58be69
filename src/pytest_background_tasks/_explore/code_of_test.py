"""The code of a test: the body of its function, and the helpers and fakes in the files of the tests."""

import os
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType

from .._introspect.project_code import PACKAGE, import_name_of

PASSED_OVER = frozenset({"sleep", "call_later", "call_at", "__sleep0", "checkpoint", "wait_all_tasks_blocked"})
"""The functions of asyncio and anyio between a sleep and the function that asks for it."""

_FOLDERS = ("test", "tests")
_CONFTEST = f"{os.sep}conftest.py"
_ASYNC_LIBRARIES = frozenset({"anyio", "async_timeout", "asyncio", "contextlib"})


class CodeOfTest:
    """The code of one test.

    Args:
        body: the code of the test's function.
    """

    def __init__(self, body: CodeType) -> None:
        self.body: CodeType = body
        self._files = _files_of_tests(body.co_filename)

    def has(self, code: CodeType) -> bool:
        """Return True for the code of the test, and of all other functions in the files of the tests."""
        return code.co_filename.startswith(self._files) or code.co_filename.endswith(_CONFTEST)

    def is_fake(self, frame: FrameType | None) -> bool:
        """Return True if a helper or fake of the tests sleeps, and not the test itself or the program.

        `frame`: the frame that sets the timer of the sleep.
        """
        while frame is not None and frame.f_code.co_name in PASSED_OVER and not self.has(frame.f_code):
            frame = frame.f_back
        return frame is not None and frame.f_code is not self.body and self.has(frame.f_code)

    def awaits(self, frame: FrameType | None) -> bool:
        """Return True if the test itself, or a helper that it awaits, sets a timer or starts a task.

        `frame`: the frame that does so, in the test's task.
        """
        while frame is not None and frame.f_code is not self.body:
            code = frame.f_code
            if not self.has(code) and not _is_passed_over(code.co_filename):
                return False
            frame = frame.f_back
        return frame is not None


@lru_cache
def _files_of_tests(file: str) -> str:
    """Return the beginning of the paths of the test's files: the folder ``tests`` that it is in, or only its own."""
    parts = Path(file).parts
    depth = max((index for index, part in enumerate(parts) if part in _FOLDERS), default=0)
    return file if not depth else f"{Path(*parts[: depth + 1])}{os.sep}"


@lru_cache(1000)
def _is_passed_over(file: str) -> bool:
    return file.startswith(PACKAGE) or import_name_of(file) in _ASYNC_LIBRARIES
