"""Quantities and lists in words."""

from collections.abc import Iterable, Sequence


def amount(count: int, noun: str) -> str:
    """Return `count` and `noun`, with a plural "s" unless `count` is 1.

    >>> amount(1, "step"), amount(0, "step"), amount(2, "step")
    ('1 step', '0 steps', '2 steps')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(lines: Iterable[str]) -> str:
    """Return `lines` as an indented block that follows a colon.

    >>> print("held:" + listed(["one", "two"]))
    held:
      one
      two
    """
    return "".join(f"\n  {line}" for line in lines)


def listing(items: Sequence[str], at_most: int) -> str:
    """Return `items` in a row, separated by commas; if there are more than `at_most`, their number stands for the rest.

    >>> listing(["one", "two", "three"], at_most=2)
    'one, two and 1 more'
    """
    more = f" and {len(items) - at_most} more" if len(items) > at_most else ""
    return ", ".join(items[:at_most]) + more
