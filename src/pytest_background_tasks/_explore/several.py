"""The values of an option that takes one or several."""

from typing import Any


def several(value: Any) -> tuple[Any, ...]:
    """Return one value or a collection of values as a tuple."""
    return tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else (value,)
