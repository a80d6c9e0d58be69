"""Who runs, by names that do not depend on the order of the run: each task is named after who started it."""

from functools import lru_cache
from types import CodeType
from typing import Any

from ..sites import behind
from .counting import Counting
from .schedule import quoted


class Actor:
    """What is known of a task while it runs.

    Attributes:
        name: path of creators, ``client/handle#2``: the second ``handle`` that ``client`` started. Empty until settled.
        step: the number of the step that it takes next.
        creator: who started it; None for the scenario itself and for those who do not start anything themselves.
        answered: the step for which an answer from outside is under way.
        error: what its wait is to fail with when it goes on.
    """

    __slots__ = ("_coroutine", "_given", "answered", "creator", "error", "name", "parts", "step")

    def __init__(self, creator: "Actor | None", coroutine: Any = None, name: str = "") -> None:
        self.creator: Actor | None = creator
        self.name: str = name
        self.step: int = 0
        self.answered: int = -1
        self.error: BaseException | None = None
        self.parts: dict[str, int] = {}
        self._coroutine = coroutine
        self._given = ""

    @property
    def code(self) -> CodeType | None:
        """The code of its function, None if it has none that Python can show."""
        coroutine = self._coroutine
        code: CodeType | None = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
        return code or getattr(behind(coroutine), "ag_code", None)

    @property
    def function(self) -> str:
        """The qualified name of its function."""
        try:
            name: str = self._coroutine.__qualname__
        except AttributeError:
            name = getattr(behind(self._coroutine), "__qualname__", type(self._coroutine).__name__)
        return name

    def call(self, name: object) -> None:
        """The program has named it."""
        self._given = str(name)

    @property
    def stem(self) -> str:
        """The last part of its name: its own name if it was given one, else its function's."""
        if not self._given:
            return _last_part(self.function)
        return _last_part(self._given) if self._is_of_anyio else quoted(self._given)

    @property
    def _is_of_anyio(self) -> bool:
        """Return whether anyio started it, which names each task by the dotted path of its function."""
        # anyio 3 starts that function itself, and anyio 4 one of its own that calls it.
        is_started_by_it = self.code is not None and "anyio" in self.code.co_filename
        return is_started_by_it or self._given.endswith(f".{self.function}")


@lru_cache(4096)
def _last_part(path: str) -> str:
    return quoted(path.rpartition(".")[2])


class Names:
    """Gives every actor its name, once: in the order of creation, and as late as can be.

    Until Python 3.13 a task is given its own name only after it was created.

    Args:
        counting: what is known of names that are new in every run.

    Attributes:
        scenario: the actor that is the scenario itself.
        unknown: whoever started what this loop has not made.
        siblings: names of which one creator has started several.
        unnamed: those who have no name yet.
        actors: all others, by name.
    """

    unknown: Actor = Actor(None)  # one for all runs: it only stands for a creator, and nothing is written to it

    def __init__(self, counting: Counting) -> None:
        self._counting = counting if counting.forms else None  # mostly there is none, and many tasks are named
        self.scenario: Actor = Actor(None, name="main")
        self.scenario.parts["main"] = 1
        self.siblings: set[str] = set()
        self.unnamed: list[Actor] = []
        self.actors: dict[str, Actor] = {"main": self.scenario}
        self._callbacks: dict[str, Actor] = {}

    def new(self, creator: Actor, coroutine: Any) -> Actor:
        """The actor for a task that `creator` starts."""
        actor = Actor(creator, coroutine)
        self.unnamed.append(actor)
        return actor

    def settle(self) -> None:
        """Name all who have none yet."""
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

    def part(self, actor: Actor, kind: str) -> str:
        """The name of the next thing of this kind that `actor` does: ``client:timer``.

        A timer that sets the next one, such as a heartbeat: ``client:timer:timer``, ``client:timer:timer#2``.
        """
        if self._callbacks:  # what a callback sets that a callback has set: or the name would grow for ever
            actor = self._callbacks.get(actor.name.rpartition(":")[0], actor)
        return self._numbered(actor, f"{actor.name}:{kind}")

    def callback(self, name: str) -> Actor:
        """The actor that a callback of this name is."""
        if name not in self._callbacks:
            self._callbacks[name] = Actor(self.scenario, name=name)
        return self._callbacks[name]

    def _numbered(self, actor: Actor, name: str) -> str:
        count = actor.parts[name] = actor.parts.get(name, 0) + 1
        if count == 1:
            return name
        if name != self.scenario.name:
            self.siblings.add(name)
        return f"{name}#{count}"
