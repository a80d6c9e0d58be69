"""The clocks of module ``time``, in virtual time; with ``time.time()``, those of module ``datetime``.

They follow virtual time for the code of some files only: asyncio itself measures real time. In a module of such a file
that has imported a clock by name (``from time import monotonic``), that name is replaced as well. A library that
freezes time takes precedence.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial, wraps
from importlib import import_module
from types import BuiltinFunctionType, CodeType, ModuleType
from typing import Any, TypeAlias, cast
from weakref import WeakKeyDictionary

from .patching import patched

DURATIONS = ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
"""The clocks that programs use to measure durations."""

CLOCKS = (*DURATIONS, "time", "time_ns")
"""All clocks that advance while a program sleeps."""

_Moment: TypeAlias = Callable[[str], float | None]
"""Returns the loop's virtual time for the code of a file, in seconds; None if its clocks are real."""

_aliases: WeakKeyDictionary[ModuleType, tuple[int, list[tuple[str, str]]]] = WeakKeyDictionary()
"""For each module: the number of its names, and those that are a clock, each with the clock's own."""


def reads_clock(code: CodeType) -> bool:
    """Return True if the function of `code` names one of the clocks."""
    return not set(DURATIONS).isdisjoint(code.co_names)


@contextmanager
def following(
    now: Callable[[], float | None],
    is_project: Mapping[str, bool],
    clocks: Sequence[str] = DURATIONS,
    follows: Mapping[str, bool] | None = None,
) -> Iterator[None]:
    """Let clocks follow virtual time inside the block.

    Args:
        now: returns the loop's virtual time, in seconds; None while there is none.
        is_project: maps file names to True for project code.
        clocks: the names of the clocks.
        follows: maps file names to True for code for which the clocks follow; by default, project code.
    """
    real = [name for name in clocks if type(getattr(time, name)) is BuiltinFunctionType]  # and not frozen by a library
    follows = is_project if follows is None else follows

    def moment(file: str) -> float | None:
        return now() if follows[file] and not _is_frozen() else None

    ahead: dict[str, int] = {}  # of the clock behind a loop's time: one value for all that show the same time
    for name in real:
        ahead.setdefault(name.removesuffix("_ns"), _ahead(name))
    ours = {name: _follower(name, moment, ahead[name.removesuffix("_ns")]) for name in real}
    with ExitStack() as stack:
        for module, alias, name in _aliases_in(follows):
            if name in ours and vars(module).get(alias) is getattr(time, name):
                stack.enter_context(patched(module, alias, partial(_instead, ours[name])))
        if "time" in ahead:
            from .datetime_functions import dates_following  # needed only with this clock

            _make_time_machine_safe()
            stack.enter_context(dates_following(partial(_microseconds, moment, ahead["time"])))
        for name, clock in ours.items():  # last, since the aliases are compared with these
            stack.enter_context(patched(time, name, partial(_instead, clock)))
        yield


def _ahead(name: str) -> int:
    """Return by how much a clock is ahead of the clock behind a loop's time: nanoseconds, in whole microseconds."""
    if _clock_behind(name) == _clock_behind("monotonic"):
        return 0
    unit = 1 if name.endswith("_ns") else 10**9
    return (int(getattr(time, name)() * unit) - time.monotonic_ns()) // 1000 * 1000


def _follower(name: str, moment: _Moment, ahead: int) -> Callable[[], Any]:
    real = getattr(time, name)
    unit = 10**9 if name.endswith("_ns") else 1

    @wraps(real)
    def clock() -> Any:
        seconds = moment(sys._getframe(1).f_code.co_filename)
        return real() if seconds is None else type(ahead_of_loop)(seconds * unit) + ahead_of_loop

    ahead_of_loop = ahead if unit > 1 else ahead / 10**9
    return clock


def _microseconds(moment: _Moment, ahead: int, file: str) -> int | None:
    seconds = moment(file)
    return None if seconds is None else round(seconds * 10**6) + ahead // 1000


@cache
def _make_time_machine_safe() -> None:
    """Import the module of time-machine that is written in C, if it is installed, while all clocks are real.

    When it is imported, it takes these functions for ones that are written in C, and later overwrites their memory.
    """
    with suppress(ImportError):
        import_module("_time_machine")


def _is_frozen() -> bool:
    """Return True while time-machine, which changes the clocks in C, freezes or shifts time."""
    library = sys.modules.get("time_machine")
    hatch = getattr(library, "escape_hatch", None)
    return hatch is not None and bool(hatch.is_travelling())


def _instead(ours: object, _: object) -> object:
    return ours


def _clock_behind(name: str) -> str:
    return time.get_clock_info(cast("Any", name.removesuffix("_ns"))).implementation


def _aliases_in(follows: Mapping[str, bool]) -> Iterator[tuple[ModuleType, str, str]]:
    """Yield the names by which modules whose clocks follow know a clock: module, alias, name of the clock."""
    clocks = {id(getattr(time, name)): name for name in CLOCKS}
    for module in _modules_in(follows):
        names = vars(module)
        number, found = _aliases.get(module, (-1, []))
        if number != len(names):
            found = [(alias, clocks[id(value)]) for alias, value in tuple(names.items()) if id(value) in clocks]
            _aliases[module] = len(names), found
        for alias, name in found:
            yield module, alias, name


def _modules_in(files_that_follow: Mapping[str, bool]) -> list[ModuleType]:
    modules = [module for module in tuple(sys.modules.values()) if type(module) is ModuleType]
    files = [(module, vars(module).get("__file__")) for module in modules]
    return [module for module, file in files if isinstance(file, str) and files_that_follow[file]]
