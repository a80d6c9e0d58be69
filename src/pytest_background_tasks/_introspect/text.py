"""Words for amounts and lists, in messages and reports."""

from collections.abc import Iterable, Sequence


def plural(count: int, noun: str) -> str:
    """Return `count` and `noun`, with a plural "s" unless `count` is 1.

    >>> plural(1, "step"), plural(0, "step"), plural(2, "step")
    ('1 step', '0 steps', '2 steps')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def indented(lines: Iterable[str], at_most: int | None = None) -> str:
    """Return `lines` as an indented block that follows a colon; beyond `at_most`, one line counts the rest.

    >>> print("held:" + indented(["one", "two", "three"], at_most=2))
    held:
      one
      two
      and 1 more
    """
    shown = list(lines)
    if at_most is not None and len(shown) > at_most:
        shown[at_most:] = [f"and {len(shown) - at_most} more"]
    return "".join(f"\n  {line}" for line in shown)


def listing(items: Sequence[str], at_most: int) -> str:
    """Return `items` in a row, separated by commas; if there are more than `at_most`, their number stands for the rest.

    >>> listing(["one", "two", "three"], at_most=2)
    'one, two and 1 more'
    """
    more = f" and {len(items) - at_most} more" if len(items) > at_most else ""
    return ", ".join(items[:at_most]) + more
