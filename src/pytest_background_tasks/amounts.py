"""How many of something, and lists, in words."""

from collections.abc import Iterable


def amount(count: int, noun: str) -> str:
    """A number and its noun, which takes an "s" if there is not one of it.

    >>> amount(1, "step"), amount(0, "step"), amount(2, "step")
    ('1 step', '0 steps', '2 steps')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(lines: Iterable[str]) -> str:
    """Each of `lines` on a line of its own, indented, to follow a colon.

    >>> print("held:" + listed(["one", "two"]))
    held:
      one
      two
    """
    return "".join(f"\n  {line}" for line in lines)
