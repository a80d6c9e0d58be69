"""A place in the code, and where a coroutine waits.

Reads ``cr_await`` chains, which are documented, and nothing private.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple


class Site(NamedTuple):
    """A line of code: ``file`` (absolute path), ``line`` (from 1) and the qualified name of the ``function``.

    It prints as ``file:line in function``, the file relative to the current folder where it lies below it.

    >>> print(Site("/srv/chat/api.py", 28, "answer"))
    /srv/chat/api.py:28 in answer
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        path = Path(self.file)
        here = Path.cwd()
        return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{self.line} in {self.function}"


def site_at(code: CodeType, instruction: int) -> Site:
    """The line that holds `instruction` (a bytecode offset, ``f_lasti``) of `code`.

    Offsets are kept instead of lines because reading a frame's line costs more than all else that is recorded.
    """
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= instruction < end and number is not None:
            line = number
    return Site(code.co_filename, line, code.co_qualname)


def definition(code: CodeType) -> Site:
    """Where the function of `code` is defined."""
    return Site(code.co_filename, code.co_firstlineno, code.co_qualname)


def await_chain(coroutine: Any) -> Iterator[FrameType]:
    """The frames of a suspended `coroutine`, outermost first: what it awaits, what that awaits, and so on.

    Generators (``__await__``, ``types.coroutine``) count; an asynchronous generator, or what is written in C, ends it.
    """
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            yield frame
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)


def waiting_site(coroutine: Any, is_own: Mapping[str, bool]) -> Site | None:
    """Where a suspended `coroutine` waits: the innermost line of the project's own code, else the innermost there is.

    ``None`` if it has not started, is running, or has ended.
    """
    if getattr(coroutine, "cr_await", None) is None and getattr(coroutine, "gi_yieldfrom", None) is None:
        return None
    frames = list(await_chain(coroutine))
    if not frames:
        return None
    frame = next((frame for frame in reversed(frames) if is_own[frame.f_code.co_filename]), frames[-1])
    return Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
