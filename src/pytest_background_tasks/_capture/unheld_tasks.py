"""Tasks that were started but not held while a test captures, for the hint that nothing was captured.

Called for every such task, so it remembers one of each kind: names and codes, but no task and no coroutine.
"""

import asyncio
from collections.abc import Mapping
from types import CodeType, CoroutineType, FunctionType
from typing import Any, NamedTuple

from .._introspect.project_code import import_name_of
from .._introspect.text import indented
from .._introspect.untrusted import qualified_name
from .call import code_of
from .opentelemetry import traced
from .origin import Origin

NOTHING = "nothing was captured; call start_capturing() before the code that starts the task"

_LIMIT = 50  # kinds that are remembered
_SHOWN = 3
_RUNNERS = {"_pytest", "anyio", "pytest_aiohttp", "pytest_asyncio"}  # packages that start the test and its fixtures


class _Kind(NamedTuple):
    """The tasks of one function that one creator starts.

    Attributes:
        function: the qualified name of the function.
        origin: the code that starts the tasks; None if the loop does.
        code: the code of the function, if it is known.
        waits: whether the creator waits for the tasks.
        through: the function of asyncio that waits, if the creator is project code.
        is_project: whether they are background tasks of the project, which the targets exclude.
        calls_project: whether a function of the project was passed to them.
    """

    function: str
    origin: CodeType | None
    code: CodeType | None
    waits: bool
    through: str
    is_project: bool
    calls_project: bool

    @property
    def package(self) -> str:
        code = self.origin or self.code
        return import_name_of(code.co_filename) if code is not None else ""

    @property
    def summary(self) -> str:
        if self.waits and self.origin is not None:
            waiting = self.through or self.origin.co_qualname
            return f"{self.function}, which {waiting} starts and waits for"
        if self.is_project:
            return f"{self.function}, which the targets of start_capturing() exclude"
        return f"{self.function}, which {self.package or 'other code'} started"

    @property
    def cure(self) -> str:
        """The code that would hold the tasks; empty if none would."""
        if self.waits or self.is_project:
            return ""
        pattern = f"{self.function.partition('.<locals>')[0]}*" if "<locals>" in self.function else self.function
        in_ini = f"  or, in the ini file,  background_tasks_project_packages = {self.package}" if self.package else ""
        return f"\n    to hold it:  background_tasks.start_capturing({pattern!r}){in_ini}"


class UnheldTasks:
    """The kinds of task that were started but not held in one test."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[int, str], _Kind] = {}

    def note(self, origin: Origin, coroutine: Any, is_project: Mapping[str, bool], *, is_background: bool) -> None:
        """Remember a task that is about to be created for `coroutine`."""
        called = traced(coroutine)
        name = called.__qualname__ if type(called) is CoroutineType else qualified_name(called)
        key = (id(origin.code), name)
        if key in self._kinds or len(self._kinds) >= _LIMIT or asyncio._get_running_loop() is None:
            return
        code = code_of(called)
        calls_project = _calls_project(called, is_project)
        kind = _Kind(name, origin.code, code, origin.awaits_task, origin.through, is_background, calls_project)
        is_projects = code is not None and is_project[code.co_filename]
        if is_projects if origin.awaits_task else kind.package not in _RUNNERS:
            self._kinds[key] = kind

    def clear(self) -> None:
        """Forget all kinds."""
        self._kinds.clear()

    @property
    def hint(self) -> str:
        """The tasks that were not held, and how to hold them, as lines; empty if there are none."""
        newest_first = reversed(self._kinds.values())
        kinds = sorted(newest_first, key=lambda kind: (kind.waits, not kind.is_project, not kind.calls_project))
        lines = [f"{kind.summary}{kind.cure}" for kind in kinds]
        return f"not held:{indented(lines, _SHOWN)}" if lines else ""

    @property
    def why_nothing(self) -> str:
        """The reason why nothing was captured."""
        hint = self.hint
        return f"no task that would be held was started; {hint}" if hint else NOTHING


def _calls_project(coroutine: Any, is_project: Mapping[str, bool]) -> bool:
    if type(coroutine) is not CoroutineType or coroutine.cr_frame is None:
        return False
    given = coroutine.cr_frame.f_locals.values()
    return any(type(each) is FunctionType and is_project[each.__code__.co_filename] for each in given)
