"""Tasks that were started while a test captures, and let through: remembered for the hint that nothing was captured.

Asked for every such task, so it remembers one of each kind: names and codes, no task and no coroutine.
"""

import asyncio
from collections.abc import Mapping
from types import CodeType, CoroutineType, FunctionType
from typing import Any, NamedTuple

from ..own import import_name_of
from ..untrusted import qualified_name
from .call import code_of
from .creator import Creator
from .opentelemetry import traced

NOTHING = "nothing was captured; start_capturing() comes before what starts the task"

_LIMIT = 50  # kinds that are remembered
_SHOWN = 3
_RUNNERS = {"_pytest", "anyio", "pytest_aiohttp", "pytest_asyncio"}  # they start the test and its fixtures


class _Kind(NamedTuple):
    """Tasks of one function that one function starts.

    Attributes:
        function: the qualified name.
        creator: the code that starts them; None if the loop does.
        code: the code that they run, if it is known.
        waits: the creator waits for them.
        through: the function of asyncio that does, if the creator is the project's.
        is_own: they are the project's own background tasks, which the targets leave out.
        calls_project: they have been given a function of the project.
    """

    function: str
    creator: CodeType | None
    code: CodeType | None
    waits: bool
    through: str
    is_own: bool
    calls_project: bool

    @property
    def package(self) -> str:
        code = self.creator or self.code
        return import_name_of(code.co_filename) if code is not None else ""

    @property
    def told(self) -> str:
        if self.waits and self.creator is not None:
            waiting = self.through or self.creator.co_qualname
            return f"{self.function}, which {waiting} waits for where it starts it"
        if self.is_own:
            return f"{self.function}, which the targets of start_capturing() leave out"
        return f"{self.function}, which {self.package or 'other code'} started"

    @property
    def cure(self) -> str:
        """Return the lines that would hold it; empty if none would."""
        if self.waits or self.is_own:
            return ""
        pattern = f"{self.function.partition('.<locals>')[0]}*" if "<locals>" in self.function else self.function
        in_ini = f"  or, in the ini file,  background_tasks_packages = {self.package}" if self.package else ""
        return f"\n    to hold it:  background_tasks.start_capturing({pattern!r}){in_ini}"


class LetThrough:
    """Remembers what a test has let through."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[int, str], _Kind] = {}

    def note(self, creator: Creator, coroutine: Any, is_own: Mapping[str, bool], *, is_background: bool) -> None:
        """Remember a task that is about to be created for `coroutine`."""
        called = traced(coroutine)
        name = called.__qualname__ if type(called) is CoroutineType else qualified_name(called)
        key = (id(creator.code), name)
        if key in self._kinds or len(self._kinds) >= _LIMIT or asyncio._get_running_loop() is None:
            return
        code = code_of(called)
        calls_project = _calls_project(called, is_own)
        kind = _Kind(name, creator.code, code, creator.waits, creator.through, is_background, calls_project)
        is_projects = code is not None and is_own[code.co_filename]
        if is_projects if creator.waits else kind.package not in _RUNNERS:
            self._kinds[key] = kind

    def clear(self) -> None:
        """Forget all of it."""
        self._kinds.clear()

    @property
    def hint(self) -> str:
        """Return what was let through, and how to hold it, as lines; empty if nothing was."""
        newest_first = reversed(self._kinds.values())
        kinds = sorted(newest_first, key=lambda kind: (kind.waits, not kind.is_own, not kind.calls_project))
        lines = [f"\n  {kind.told}{kind.cure}" for kind in kinds[:_SHOWN]]
        more = f"\n  and {len(kinds) - _SHOWN} more" if len(kinds) > _SHOWN else ""
        return f"let through:{''.join(lines)}{more}" if lines else ""

    @property
    def why_nothing(self) -> str:
        """Return why nothing was captured."""
        hint = self.hint
        return f"nothing that is to be held was started; {hint}" if hint else NOTHING


def _calls_project(coroutine: Any, is_own: Mapping[str, bool]) -> bool:
    if type(coroutine) is not CoroutineType or coroutine.cr_frame is None:
        return False
    given = coroutine.cr_frame.f_locals.values()
    return any(type(each) is FunctionType and is_own[each.__code__.co_filename] for each in given)
