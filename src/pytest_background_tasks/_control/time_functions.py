"""The clocks of module ``time`` that programs use to measure durations, in virtual time.

They follow virtual time for project code only: libraries and asyncio measure real time. In a module that has imported a
clock by name (``from time import monotonic``), that name is replaced as well.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from types import CodeType, ModuleType
from typing import Any, cast

from .._asyncio.patching import patched

_CLOCKS = ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")


def reads_clock(code: CodeType) -> bool:
    """Return True if the function of `code` names one of the clocks."""
    return not set(_CLOCKS).isdisjoint(code.co_names)


@contextmanager
def following(now: Callable[[], float | None], is_project: Mapping[str, bool]) -> Iterator[None]:
    """Let the clocks follow `now` inside the block: the loop's virtual time, in seconds; None while there is none."""
    clocks = [(getattr(time, name), _follower(name, now, is_project)) for name in _CLOCKS]
    with ExitStack() as stack:
        for module in [time, *_own_modules(is_project)]:
            for real, ours in clocks:
                for alias in [alias for alias, value in vars(module).items() if value is real]:
                    stack.enter_context(patched(module, alias, partial(_instead, ours)))
        yield


def _follower(name: str, now: Callable[[], float | None], is_project: Mapping[str, bool]) -> Callable[[], Any]:
    real = getattr(time, name)
    unit = 10**9 if name.endswith("_ns") else 1
    ahead = real() - type(real())(time.monotonic() * unit)  # of the clock behind a loop's time
    if _clock_behind(name) == _clock_behind("monotonic"):
        ahead = 0

    @wraps(real)
    def clock() -> Any:
        moment = now() if is_project[sys._getframe(1).f_code.co_filename] else None
        return real() if moment is None else type(real())(moment * unit) + ahead

    return clock


def _instead(ours: object, _: object) -> object:
    return ours


def _clock_behind(name: str) -> str:
    return time.get_clock_info(cast("Any", name.removesuffix("_ns"))).implementation


def _own_modules(is_project: Mapping[str, bool]) -> list[ModuleType]:
    modules = [module for module in tuple(sys.modules.values()) if type(module) is ModuleType]
    files = [(module, vars(module).get("__file__")) for module in modules]
    return [module for module, file in files if isinstance(file, str) and is_project[file]]
