"""Names of tasks that do not depend on the order of the run: each task is named after the task that started it."""

import sysconfig
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

from .._introspect.location import behind
from .name_patterns import NamePatterns
from .schedule import quoted
from .trace import MAIN


class TaskIdentity:
    """The identity of a running task or callback.

    Attributes:
        name: path of creators: ``client/handle#2`` is the second ``handle`` that ``client`` started. Empty until
            settled.
        step: number of the next step.
        creator: the actor that started it; None for the scenario itself and for a callback.
        answered: the step whose answer is already on its way; -1 at first.
        error: the exception to raise at the next step.
        is_private: True if a function of the program or of a library has started it, in a suite: no other code can
            cancel it.
    """

    __slots__ = ("_coroutine", "_given", "answered", "creator", "error", "is_private", "name", "parts", "step")

    def __init__(self, creator: "TaskIdentity | None", coroutine: Any = None, name: str = "") -> None:
        self.creator: TaskIdentity | None = creator
        self.name: str = name
        self.step: int = 0
        self.answered: int = -1
        self.error: BaseException | None = None
        self.is_private: bool = False
        self.parts: dict[str, int] = {}
        self._coroutine = coroutine
        self._given = ""

    @property
    def code(self) -> CodeType | None:
        """The code of the task's function; None if Python does not expose it."""
        coroutine = self._coroutine
        code: CodeType | None = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
        return code or getattr(behind(coroutine), "ag_code", None)

    @property
    def is_internal(self) -> bool:
        """True if no other code can know the task: see `is_private`; or asyncio has started a function of its own."""
        code = self.code
        is_of_asyncio = code is not None and code.co_name[:1] == "_" and code.co_filename.startswith(_ASYNCIO)
        return self.is_private or is_of_asyncio

    @property
    def function(self) -> str:
        """The qualified name of the task's function."""
        try:
            name: str = self._coroutine.__qualname__
        except AttributeError:
            name = getattr(behind(self._coroutine), "__qualname__", type(self._coroutine).__name__)
        return name

    def call(self, name: object) -> None:
        """Set the name that the program gave to the task."""
        self._given = str(name)

    @property
    def stem(self) -> str:
        """The last part of the name: the name that the program gave to the task, else the name of its function."""
        if not self._given:
            return _last_part(self.function)
        return _last_part(self._given) if self._is_of_anyio else quoted(self._given)

    @property
    def _is_of_anyio(self) -> bool:
        """True if anyio started the task. anyio names each task after the dotted path of its function."""
        # anyio 3 starts that function directly; anyio 4 starts a wrapper that calls it.
        is_started_by_it = self.code is not None and "anyio" in self.code.co_filename
        return is_started_by_it or self._given.endswith(f".{self.function}")


_ASYNCIO = str(Path(sysconfig.get_path("stdlib"), "asyncio"))

RUNNER_OF_ANYIO = "_run_tests_and_fixtures"
"""The function of the task in which anyio's plugin runs all fixtures and tests of a loop."""


class Phase(TaskIdentity):
    """A part of a test's run: the creator of the tasks in which a runner runs fixtures and the test.

    Attributes:
        label: the name of the next such task, such as the name of the fixture; empty for that of its function.
        code_of_main: the code of the coroutine that runs the test; its task is the scenario.
    """

    __slots__ = ("code_of_main", "label")

    def __init__(self, name: str) -> None:
        super().__init__(None, name=name)
        self.label: str = ""
        self.code_of_main: CodeType | None = None


@lru_cache(4096)
def _last_part(path: str) -> str:
    return quoted(path.rpartition(".")[2])


class TaskNames:
    """The names of all actors of a run. Each is named once, in the order of creation and as late as possible.

    Up to Python 3.13 a task receives the name that the program chose only after its creation.

    Args:
        counting: the forms of names that change with every run.

    Attributes:
        scenario: the actor of the scenario itself.
        unknown: the creator of tasks that this loop did not make.
        siblings: names that several tasks of one creator share.
        unnamed: actors without a name.
        actors: all other actors, by name.
    """

    unknown: TaskIdentity = TaskIdentity(None)  # shared by all runs: it serves only as a creator and is never modified

    def __init__(self, counting: NamePatterns) -> None:
        self._counting = counting if counting.patterns else None  # usually empty, and many tasks need a name
        self.scenario: TaskIdentity = TaskIdentity(None, name=MAIN)
        self.scenario.parts[MAIN] = 1
        self.siblings: set[str] = set()
        self.unnamed: list[TaskIdentity] = []
        self.actors: dict[str, TaskIdentity] = {MAIN: self.scenario}
        self._callbacks: dict[str, TaskIdentity] = {}

    def new(self, creator: TaskIdentity, coroutine: Any) -> TaskIdentity:
        """Return the actor of a task that `creator` starts."""
        actor = TaskIdentity(creator, coroutine)
        if isinstance(creator, Phase):  # a runner creates it
            if creator.code_of_main is not None and actor.code is creator.code_of_main:
                return self.scenario
            if creator.label:
                actor.call(creator.label)
        elif isinstance(creator.creator, Phase) and actor.function.endswith(f".{RUNNER_OF_ANYIO}"):
            actor.creator = creator.creator
            actor.call("runner")
        self.unnamed.append(actor)
        return actor

    def assign(self) -> None:
        """Name all unnamed actors."""
        for actor in self.unnamed:
            creator, stem = actor.creator or self.unknown, actor.stem
            if self._counting is not None:
                stem = self._counting(stem)
            if creator is self.scenario or creator is self.unknown:
                actor.name = self._numbered(self.scenario, stem)
            else:
                actor.name = self._numbered(creator, f"{creator.name}/{stem}")
            self.actors[actor.name] = actor
        self.unnamed.clear()

    def derived(self, actor: TaskIdentity, kind: str) -> str:
        """Return the name of the next timer, call or thread result of `actor`: ``client:timer``.

        A timer that sets another timer, such as a heartbeat: ``client:timer:timer``, then ``client:timer:timer#2``.
        """
        if self._callbacks:  # set by a callback that another callback set: the name must not grow without end
            actor = self._callbacks.get(actor.name.rpartition(":")[0], actor)
        return self._numbered(actor, f"{actor.name}:{kind}")

    def of_callback(self, name: str) -> TaskIdentity:
        """Return the actor of the callback called `name`."""
        if name not in self._callbacks:
            self._callbacks[name] = TaskIdentity(self.scenario, name=name)
        return self._callbacks[name]

    def _numbered(self, actor: TaskIdentity, name: str) -> str:
        count = actor.parts[name] = actor.parts.get(name, 0) + 1
        if count == 1:
            return name
        if name != self.scenario.name:
            self.siblings.add(name)
        return f"{name}#{count}"
