"""The faults that an exploration injects on request, validated when they are set."""

import builtins
import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from ..errors import ReplayError
from .schedule import NETWORK_FAULTS, RESERVED
from .several import several

Fault: TypeAlias = str | type[BaseException] | BaseException

_CANCEL = "cancel:"
_EXAMPLES = "'cancel', 'cancel:client*', 'slow', 'reset', 'refused', 'eof', 'split', or an exception: ConnectionError"


@dataclass(frozen=True)
class Faults:
    """The faults that are asked for.

    Attributes:
        cancels_all: True if each task that the scenario starts may be cancelled.
        cancel: patterns for the names of tasks that may be cancelled.
        is_slow: True if results may come after the next timer.
        network: the members of `NETWORK_FAULTS` that are asked for.
        errors: the errors to inject, by the name of their class.
    """

    cancels_all: bool = False
    cancel: tuple[str, ...] = ()
    is_slow: bool = False
    network: frozenset[str] = frozenset()
    errors: Mapping[str, type[BaseException] | BaseException] = field(default_factory=dict)

    @classmethod
    def of(cls, faults: Any) -> "Faults":
        """Return the faults for the value of the option ``faults``.

        Raises:
            TypeError, ValueError: one of them is no fault; the message says what to write.
        """
        if isinstance(faults, Faults):
            return faults
        given = several(faults)
        names = {each for each in given if isinstance(each, str)}
        errors = [each for each in map(_error_or_name, given) if each is not None]
        return cls(
            "cancel" in names,
            tuple(each.removeprefix(_CANCEL) for each in given if isinstance(each, str) and each.startswith(_CANCEL)),
            "slow" in names,
            frozenset(names & set(NETWORK_FAULTS)),
            {(each if isinstance(each, type) else type(each)).__name__: each for each in errors},
        )

    @property
    def cancels(self) -> bool:
        """True if tasks are to be cancelled."""
        return self.cancels_all or bool(self.cancel)

    def error(self, name: str) -> BaseException:
        """Return a new instance of the error to inject whose class is called `name`.

        Raises:
            ReplayError: it is not among the faults.
        """
        error = self.errors.get(name)
        if error is None:
            if near := get_close_matches(name, [*RESERVED, *self.errors], 1):
                raise ReplayError(f"unknown fault !{name}: it is not in faults=; did you mean !{near[0]}?")
            known = ", ".join(self.errors) or "none"
            raise ReplayError(f"unknown fault !{name}; errors in faults=: {known}\n  write: faults={name}")
        return error() if isinstance(error, type) else copy.copy(error)

    def is_target(self, name: str, function: str, *, is_started_by_scenario: bool) -> bool:
        """Return True if a task may be cancelled externally.

        Args:
            name: the task's name in a trace.
            function: the qualified name of its function.
            is_started_by_scenario: True if the scenario itself started the task.
        """
        if self.cancels_all and is_started_by_scenario:
            return True
        names = (name.rpartition("/")[2], function, function.rpartition(".")[2])
        # "client*" means clients, not the tasks that they start, which external code may not know.
        return any(
            ("/" in target and fnmatchcase(name, target)) or any(fnmatchcase(each, target) for each in names)
            for target in self.cancel
        )


NO_FAULTS = Faults()


def _error_or_name(fault: Any) -> type[BaseException] | BaseException | None:
    """Return the exception that `fault` is or names; None for the name of another fault.

    Raises:
        TypeError, ValueError: it is neither.
    """
    if isinstance(fault, str):
        return None if fault in RESERVED or fault.removeprefix(_CANCEL) not in ("", fault) else _built_in(fault)
    is_class = isinstance(fault, type) and issubclass(fault, BaseException)
    if not is_class and not isinstance(fault, BaseException):
        raise TypeError(f"faults={fault!r} is neither the name of a fault nor an exception; write {_EXAMPLES}")
    name = fault.__name__ if is_class else type(fault).__name__
    if name in RESERVED:
        raise ValueError(f"faults={name}: this name of a class stands for another fault; give the class another name")
    if is_class and not _can_be_made(fault):
        raise TypeError(f"faults={name}: the class needs arguments; write e.g. faults={name}(...)")
    error: type[BaseException] | BaseException = fault
    return error


def _built_in(name: str) -> type[BaseException]:
    error = getattr(builtins, name, None)
    if isinstance(error, type) and issubclass(error, BaseException) and _can_be_made(error):
        return error
    near = "".join(f"; did you mean {each!r}?" for each in get_close_matches(name, RESERVED, 1))
    raise ValueError(f"faults={name!r}: unknown fault{near}; write {_EXAMPLES}")


def _can_be_made(error: type[BaseException]) -> bool:
    try:
        error()
    except TypeError:
        return False
    return True
