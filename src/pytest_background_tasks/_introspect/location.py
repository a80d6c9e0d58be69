"""A line of code, and the lines at which a coroutine is suspended.

Reads ``cr_await`` chains, which are documented, and nothing private.
"""

import gc
from collections.abc import Iterator, Mapping
from pathlib import Path
from traceback import walk_tb
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, NamedTuple

from .project_code import loop_hidden, package_of
from .untrusted import attribute, type_name

# Types that stand for a coroutine or a generator, and have no frame of their own: ``asend()``, ``athrow()``,
# ``aclose()`` and ``anext()`` of an asynchronous generator, ``anext()`` with a default, ``__await__()`` of a coroutine.
_STANDING_IN = {"anext_awaitable", "async_generator_asend", "async_generator_athrow", "coroutine_wrapper"}


class SourceLocation(NamedTuple):
    """A line of code: ``file`` (absolute path), ``line`` (from 1) and the qualified name of the ``function``.

    It prints as ``file:line in function``, the file relative to the current folder where it lies below it.

    >>> print(SourceLocation("/srv/chat/api.py", 28, "answer"))
    /srv/chat/api.py:28 in answer
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{shown_file(self.file)}:{self.line} in {self.function}"


def shown_file(file: str) -> str:
    """Return the path of a file relative to the current directory if it is below it, else the absolute path."""
    path = Path(file)
    with loop_hidden():
        here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def location_in(code: CodeType, line: int) -> SourceLocation:
    """Return this line of `code`."""
    return SourceLocation(code.co_filename, line, code.co_qualname)


def location_at(code: CodeType, instruction: int) -> SourceLocation:
    """Return the line that contains `instruction` (a bytecode offset, ``f_lasti``) of `code`.

    Offsets are kept instead of lines because reading a frame's line costs more than all else that is recorded.
    """
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= instruction < end and number is not None:
            line = number
    return location_in(code, line)


def definition(code: CodeType) -> SourceLocation:
    """Return the line at which the function of `code` is defined."""
    return location_in(code, code.co_firstlineno)


def await_links(coroutine: Any) -> Iterator[Any]:
    """Yield a suspended `coroutine`, the object that it awaits, the one that this awaits, and so on.

    These are the objects with a frame of their own: coroutines, generators used as coroutines (``types.coroutine``,
    ``__await__``) and asynchronous generators. An object written in C, such as a future, ends the chain.
    """
    while coroutine is not None:
        if _has_frame(coroutine):
            yield coroutine
            coroutine = _awaited_by(coroutine)
        else:  # only the garbage collector shows the object that it stands for
            coroutine = next((each for each in gc.get_referents(coroutine) if _leads_on(each)), None)


def _leads_on(awaited: Any) -> bool:
    return _is_suspendable(awaited) or type_name(awaited) in _STANDING_IN


def behind(awaitable: Any) -> Any:
    """Return the coroutine or generator that runs when `awaitable` is awaited: for ``anext()``, the generator."""
    return awaitable if _is_suspendable(awaitable) else next(await_links(awaitable), awaitable)


def _is_suspendable(thing: Any) -> bool:
    kind: Any = type(thing)  # compared one by one: a metaclass may define how its classes are compared and hashed
    return kind is CoroutineType or kind is GeneratorType or kind is AsyncGeneratorType


def _has_frame(coroutine: Any) -> bool:
    """Return True if it is suspendable, or compiled (Cython) with the attributes of a coroutine."""
    return _is_suspendable(coroutine) or attribute(coroutine, "cr_frame") is not None


def _attribute(coroutine: Any, name: str) -> Any:
    return getattr(coroutine, name) if type(coroutine) is CoroutineType else attribute(coroutine, name)


def _awaited_by(coroutine: Any) -> Any:
    if type(coroutine) is GeneratorType:
        return coroutine.gi_yieldfrom
    return coroutine.ag_await if type(coroutine) is AsyncGeneratorType else _attribute(coroutine, "cr_await")


def _frame_of(coroutine: Any) -> FrameType | None:
    if type(coroutine) is GeneratorType:
        return coroutine.gi_frame
    if type(coroutine) is AsyncGeneratorType:
        return coroutine.ag_frame
    frame: FrameType | None = _attribute(coroutine, "cr_frame")
    return frame


def await_chain(coroutine: Any) -> Iterator[FrameType]:
    """Yield the frames of `await_links`, outermost first."""
    for link in await_links(coroutine):
        frame = _frame_of(link)
        if frame is not None:
            yield frame


def waiting_locations(coroutine: Any, is_project: Mapping[str, bool]) -> tuple[SourceLocation, ...]:
    """Return the lines of the project at which a suspended `coroutine` waits, outermost first.

    Without such a line, return the innermost one of a library, or else of Python. The result is empty if the coroutine
    has not started, is running, or has ended.
    """
    first = behind(coroutine)
    if not _has_frame(first) or _awaited_by(first) is None:
        return ()
    frames = list(await_chain(coroutine))
    own = [frame for frame in frames if is_project[frame.f_code.co_filename]]
    of_libraries = [frame for frame in frames if package_of(frame.f_code.co_filename)] if not own else []
    return tuple(location_in(frame.f_code, frame.f_lineno) for frame in own or of_libraries[-1:] or frames[-1:])


def waiting_location(coroutine: Any, is_project: Mapping[str, bool]) -> SourceLocation | None:
    """Return the innermost line of `waiting_locations`; None if it has none."""
    return next(reversed(waiting_locations(coroutine, is_project)), None)


def raising_locations(error: BaseException, is_project: Mapping[str, bool]) -> tuple[SourceLocation, ...]:
    """Return the lines of the project through which an exception propagated, outermost first."""
    sites = (location_in(frame.f_code, line) for frame, line in walk_tb(attribute(error, "__traceback__")))
    return tuple(site for site in sites if is_project[site.file])
