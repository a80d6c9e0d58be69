"""The options of an exploration, validated when they are set."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict

from .._introspect.project_code import ProjectCode
from .faults import NO_FAULTS, Fault, Faults
from .helper_thread import LIMIT
from .name_patterns import NamePatterns
from .schedule import Schedule
from .several import several
from .trace import ANSWERS, KINDS

Propagated: TypeAlias = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]
_Kind: TypeAlias = Literal["start", "yield", "sleep", "timer", "thread", "mock", "answer", "network"]


_FROM_OUTSIDE = frozenset({"thread", "answer"})
_RESULTS = ANSWERS | {"network"}
_OF_UNKNOWN_DURATION = frozenset({"sleep", "thread", "answer"})


class Arguments(TypedDict, total=False):
    """The keyword arguments that `Explorer`, which documents them, and ``@explore`` have in common."""

    max_schedules: int
    max_deviations: int
    max_seconds: float | None
    max_steps: int
    arrivals: Literal["any"] | _Kind | Sequence[_Kind] | set[_Kind]
    faults: Fault | Sequence[Fault] | set[Fault]
    random_walks: int
    seed: int | str | None
    replay: str | Schedule | None
    fail_on_leaks: bool
    virtual_clocks: bool
    reseed_random: bool


class ExplorerArguments(Arguments, total=False):
    """The keyword arguments of `Explorer`."""

    previous_failures: Sequence[str | Schedule]
    accepted: Sequence[str | Schedule]
    require_cancel: bool
    propagate: Propagated
    is_project_file: Mapping[str, bool]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options in normal form; a wrong one raises a `TypeError` or `ValueError` that says why."""

    max_schedules: int = 1000
    max_deviations: int = 2
    max_seconds: float | None = None
    max_steps: int = 10_000
    arrivals: frozenset[str] = frozenset(KINDS)
    faults: Faults = NO_FAULTS
    random_walks: int = 0
    seed: int | str | None = None
    replay: Schedule | None = None
    previous_failures: tuple[Schedule, ...] = ()
    accepted: tuple[Schedule, ...] = ()
    fail_on_leaks: bool = False
    virtual_clocks: bool = True
    reseed_random: bool = True
    require_cancel: bool = True
    propagate: Any = ()
    is_project_file: Mapping[str, bool] = field(default_factory=lambda: ProjectCode(Path.cwd()))
    counting: NamePatterns = field(default_factory=NamePatterns, init=False)
    began: float = field(default=0.0, init=False)
    is_debug: bool = field(default=False, init=False)
    is_suite: bool = field(default=False, init=False)
    holds_pauses: bool = field(default=False, init=False)
    depends_on_random: bool = field(default=False, init=False)
    thread_limit: float = field(default=LIMIT, init=False)

    def __post_init__(self) -> None:
        for name, least in (("max_schedules", 1), ("max_deviations", 0), ("max_steps", 1), ("random_walks", 0)):
            _check_number(name, getattr(self, name), least)
        for name in ("fail_on_leaks", "virtual_clocks", "reseed_random", "require_cancel"):
            _check_bool(name, getattr(self, name))
        _check_seconds(self.max_seconds)
        _check_seed(self.seed)
        set_ = object.__setattr__  # frozen
        set_(self, "arrivals", _arrivals(self.arrivals))
        set_(self, "faults", Faults.of(self.faults))
        set_(self, "replay", None if self.replay is None else _schedule(self.replay))
        for name in ("previous_failures", "accepted"):
            set_(self, name, _schedules(name, getattr(self, name)))
        set_(self, "propagate", _predicate(self.propagate))

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Options":
        """Return the options for the keyword arguments of a user."""
        check_names(options, [each.name for each in fields(cls) if each.init])
        return cls(**options)

    def with_counting(self, forms: Iterable[str]) -> "Options":
        """Return a copy that knows these forms of names too."""
        return self._with(counting=NamePatterns({*self.counting.patterns, *forms}))

    def beginning(self, began: float, *, is_debug: bool) -> "Options":
        """Return a copy for an exploration that begins now.

        Args:
            began: the value of the loop's clock at the start of every run, in seconds.
            is_debug: True if its loops are in debug mode.
        """
        return self._with(began=began, is_debug=is_debug)

    def in_suite(self, thread_limit: float) -> "Options":
        """Return a copy for a test that was not written to be explored, and that passes without being explored.

        A pause of the test itself lets the other tasks continue. Mocks answer at once, unless their answers are to be
        delayed. A test with nothing to vary is run once. Exceptions that are lost in asyncio's default order too are no
        failure.

        Args:
            thread_limit: seconds of real time that a function may take in a thread.
        """
        return self._with(is_suite=True, holds_pauses=True, thread_limit=thread_limit)

    def without_holding(self) -> "Options":
        """Return a copy that leaves the pauses of a test as short as on any loop."""
        return self._with(holds_pauses=False) if self.holds_pauses else self

    def depending_on_random(self) -> "Options":
        """Return a copy for a test whose runs differ, or fail and pass, by the random numbers that they draw."""
        return self._with(depends_on_random=True)

    @property
    def reseeds(self) -> bool:
        """True if the random numbers are the same in each run.

        A test that was not written to be explored may use them for names that must differ from run to run.
        """
        return self.reseed_random and (self.depends_on_random or not self.is_suite)

    @property
    def mocks_suspend(self) -> bool:
        """True if an awaited `AsyncMock` suspends for one step."""
        return not self.is_suite or "mock" in self.arrivals

    @property
    def slow_kinds(self) -> frozenset[str]:
        """The kinds of arrival that may take longer than a timer, although that needs more than a delay."""
        if self.is_suite:  # where sleeps are as long as written
            return _FROM_OUTSIDE | {"network"} if self.faults.is_slow else frozenset()
        return _RESULTS if self.faults.is_slow else _FROM_OUTSIDE

    @property
    def overtakable(self) -> frozenset[str]:
        """The kinds of arrival for which it matters if a timer could have fired before."""
        return self.slow_kinds | (_FROM_OUTSIDE if self.is_suite else _OF_UNKNOWN_DURATION)

    def _with(self, **changed: object) -> "Options":
        options = copy.copy(self)
        for name, value in changed.items():
            object.__setattr__(options, name, value)  # frozen
        return options


def check_names(options: Iterable[str], known: Sequence[str]) -> None:
    """Raise a TypeError for the first of `options` that is not `known`, with the nearest name and all names."""
    for name in options:
        if name not in known:
            near = "".join(f"; did you mean {each}=?" for each in get_close_matches(name, known, 1))
            raise TypeError(f"unknown option {name}={near}\n  valid options: {', '.join(known)}")


def _check_number(name: str, number: object, least: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{name}={number!r} is not an integer; write e.g. {name}={least + 1}")
    if number < least:
        raise ValueError(f"{name}={number} is less than {least}; write e.g. {name}={least + 1}")


def _check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r} is neither True nor False; write e.g. {name}=True")


def _check_seed(seed: object) -> None:
    if seed is not None and (not isinstance(seed, (int, str)) or isinstance(seed, bool)):
        raise TypeError(f"seed={seed!r} is neither an integer nor a string; write e.g. seed=7")


def _check_seconds(seconds: object) -> None:
    if seconds is None:
        return
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"max_seconds={seconds!r} is not a number of seconds; write e.g. max_seconds=60")
    if not seconds > 0:
        raise ValueError(
            f"max_seconds={seconds!r} is not greater than 0; write e.g. max_seconds=60, or None for no limit"
        )


def _arrivals(arrivals: str | Iterable[str]) -> frozenset[str]:
    if arrivals == "any":
        return frozenset({*KINDS, "any"})
    if not isinstance(arrivals, Iterable):
        raise TypeError(
            f"arrivals={arrivals!r} is neither a kind of arrival nor a list of kinds; write e.g. arrivals=['sleep']"
        )
    kinds = [arrivals] if isinstance(arrivals, str) else list(arrivals)
    for kind in kinds:
        if kind not in KINDS and kind != "any":
            known = ", ".join(map(repr, KINDS))
            raise ValueError(f"arrivals={arrivals!r}: unknown kind {kind!r}; write {known} or 'any'")
    return frozenset(kinds)


def _schedules(name: str, schedules: Any) -> tuple[Schedule, ...]:
    if not isinstance(schedules, (list, tuple)):
        raise TypeError(f"{name}={schedules!r} is not a list of schedules; write e.g. {name}=['client@1+1']")
    return tuple(_schedule(each) for each in schedules)


def _schedule(schedule: object) -> Schedule:
    if isinstance(schedule, (str, Schedule)):
        return Schedule.parse(str(schedule))  # validates a Schedule too: its deviations may contradict each other
    raise TypeError(f"replay={schedule!r} is not a schedule; write e.g. replay='client@1+1'")


def _predicate(propagated: Any) -> Callable[[BaseException], bool]:
    """Return a function that tells the exceptions that end the exploration."""
    classes = several(propagated)
    if all(isinstance(each, type) and issubclass(each, BaseException) for each in classes):
        return lambda error: isinstance(error, classes)
    if callable(propagated):
        predicate: Callable[[BaseException], bool] = propagated
        return predicate
    raise TypeError(
        f"propagate={propagated!r} is neither classes of exceptions nor a function; "
        f"write e.g. propagate=KeyboardInterrupt"
    )
