"""Properties of a report, where any code may record anything (``record_property``, ``item.user_properties``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OUTCOME_OF_REPORT = "explore_outcome"
"""The attribute of a report that holds the outcome of a test under ``--explore``, as basic values."""


def values_of(name: str, properties: Iterable[Any]) -> Iterator[Any]:
    """Yield the values recorded under `name`."""
    return (each[1] for each in properties if is_named(name, each))


def value_of(name: str, properties: Iterable[Any]) -> Any:
    """Return the value recorded last under `name`; None if there is none."""
    value = None
    for value in values_of(name, properties):  # noqa: B007 - the last one is returned
        pass
    return value


def is_named(name: str, one: Any) -> bool:
    """Return True if `one` is a pair with this name."""
    return type(one) is tuple and len(one) == 2 and type(one[0]) is str and one[0] == name
