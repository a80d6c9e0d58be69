"""The options of an exploration, validated when they are set."""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict

from .._introspect.project_code import ProjectCode
from ..errors import ReplayError
from .helper_thread import LIMIT
from .name_patterns import NamePatterns
from .result import FAULTS
from .schedule import Schedule
from .trace import ANSWERS, KINDS

CancelTarget: TypeAlias = str | Callable[..., Any]
Error: TypeAlias = type[BaseException] | BaseException
Propagated: TypeAlias = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]
_Kind: TypeAlias = Literal["start", "yield", "sleep", "timer", "thread", "mock", "answer", "network"]


_FROM_OUTSIDE = frozenset({"thread", "answer"})
_OF_UNKNOWN_DURATION = frozenset({"sleep", "thread", "answer"})


class Arguments(TypedDict, total=False):
    """The keyword arguments that `Explorer`, which documents them, and ``@explore`` have in common."""

    max_schedules: int
    max_deviations: int
    max_seconds: float | None
    max_steps: int
    arrivals: Literal["any"] | _Kind | Sequence[_Kind] | set[_Kind]
    cancel: bool | CancelTarget | Sequence[CancelTarget]
    inject_errors: Error | Sequence[Error] | None
    slow_results: bool | None
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
    cancel: bool | tuple[CancelTarget, ...] = False
    inject_errors: Error | Sequence[Error] | None = None
    slow_results: bool | None = None
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
        if self.slow_results is not None:
            _check_bool("slow_results", self.slow_results)
        _check_seconds(self.max_seconds)
        _check_seed(self.seed)
        set_ = object.__setattr__  # frozen
        set_(self, "arrivals", _arrivals(self.arrivals))
        set_(self, "cancel", _cancel(self.cancel))
        set_(self, "inject_errors", _errors(self.inject_errors))
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
        if self.slow_results is None or (self.slow_results and self.is_suite):  # where sleeps are as long as written
            return _FROM_OUTSIDE
        return ANSWERS if self.slow_results else frozenset()

    @property
    def overtakable(self) -> frozenset[str]:
        """The kinds of arrival for which it matters if a timer could have fired before."""
        return self.slow_kinds | (_FROM_OUTSIDE if self.is_suite else _OF_UNKNOWN_DURATION)

    def _with(self, **changed: object) -> "Options":
        options = copy.copy(self)
        for name, value in changed.items():
            object.__setattr__(options, name, value)  # frozen
        return options

    @property
    def errors(self) -> Mapping[str, Error]:
        """The errors to inject, by the name of their class."""
        return self.inject_errors  # type: ignore[return-value]  # __post_init__ has made it a mapping

    def error(self, name: str) -> BaseException:
        """Return a new instance of the error to inject whose class is called `name`."""
        error = self.errors.get(name)
        if error is None:
            if near := get_close_matches(name, ["cancel", "slow", *self.errors], 1):
                raise ReplayError(f"unknown fault !{name}: it is not in inject_errors=; did you mean !{near[0]}?")
            known = ", ".join(self.errors) or "none"
            raise ReplayError(
                f"unknown fault !{name}; errors in inject_errors=: {known}\n  write: inject_errors={name}"
            )
        return error() if isinstance(error, type) else copy.copy(error)

    def faults(self, *, may_cancel: bool) -> tuple[str, ...]:
        """Return the deviations other than delays that are tried; cancellations only if there is a task to cancel."""
        asked = (self.cancel and may_cancel, self.inject_errors, self.slow_results)
        return tuple(fault for fault, is_asked in zip(FAULTS, asked, strict=True) if is_asked)

    def is_target(self, name: str, function: str, code: object, is_started_by_scenario: bool) -> bool:
        """Return True if a task may be cancelled externally.

        Args:
            name: the task's name in a trace.
            function: the qualified name of its function.
            code: the code of its function.
            is_started_by_scenario: True if the scenario itself started the task.
        """
        if isinstance(self.cancel, bool):
            return self.cancel and is_started_by_scenario
        names = (name.rpartition("/")[2], function, function.rpartition(".")[2])
        for target in self.cancel:
            if isinstance(target, str):
                # "client*" means clients, not the tasks that they start, which external code may not know.
                if ("/" in target and fnmatchcase(name, target)) or any(fnmatchcase(each, target) for each in names):
                    return True
            elif inspect.unwrap(target).__code__ is code:
                return True
        return False


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


def _cancel(cancel: Any) -> bool | tuple[CancelTarget, ...]:
    if isinstance(cancel, bool):
        return cancel
    targets = several(cancel)
    for target in targets:
        if not isinstance(target, str) and not inspect.iscoroutinefunction(inspect.unwrap(target)):
            raise TypeError(
                f"cancel={cancel!r}: {target!r} is neither a pattern for a task's name nor a coroutine function; "
                f"write e.g. cancel='client*', or cancel=True for all tasks that the test starts"
            )
    return targets


def _schedules(name: str, schedules: Any) -> tuple[Schedule, ...]:
    if not isinstance(schedules, (list, tuple)):
        raise TypeError(f"{name}={schedules!r} is not a list of schedules; write e.g. {name}=['client@1+1']")
    return tuple(_schedule(each) for each in schedules)


def several(value: Any) -> tuple[Any, ...]:
    """Return one value or a collection of values as a tuple."""
    return tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else (value,)


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


def _errors(raises: Any) -> dict[str, Error]:
    errors = () if raises is None else several(raises)
    for error in errors:
        is_class = isinstance(error, type) and issubclass(error, BaseException)
        if not is_class and not isinstance(error, BaseException):
            raise TypeError(
                f"inject_errors={raises!r}: {error!r} is not an exception; write e.g. inject_errors=ConnectionError"
            )
        if is_class and not _can_be_made(error):
            raise TypeError(
                f"inject_errors={raises!r}: the class needs arguments; write e.g. inject_errors={error.__name__}(...)"
            )
    return {(error if isinstance(error, type) else type(error)).__name__: error for error in errors}


def _can_be_made(error: type[BaseException]) -> bool:
    try:
        error()
    except TypeError:
        return False
    return True
