"""Steps of a story that come again and again, such as those of a poll: all but the first round are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_LONGEST = 12  # steps of one round: of a poll with a helper or two, and with another task in between


class Repeat(NamedTuple):
    """Steps that come again at once.

    Attributes:
        first: their places where they come first.
        again: the places of all that come again.
    """

    first: tuple[int, ...]
    again: tuple[int, ...]

    @property
    def times(self) -> int:
        """The number of further rounds."""
        return len(self.again) // len(self.first)

    def __str__(self) -> str:
        count = len(self.first)
        return f"{self.times} more of these" if count == 1 else f"these {count} steps {self.times} more times"


def repeats_of(told: Sequence[object]) -> dict[int, Repeat]:
    """Return what comes again at once, by the last of its first places.

    Args:
        told: what is said of each step; None of a step that is to be shown in any case.

    >>> repeats_of(["look", "sleep", "look", "sleep", "look", "sleep", "end"])
    {1: Repeat(first=(0, 1), again=(2, 3, 4, 5))}
    """
    found: dict[int, Repeat] = {}
    place = 0
    while place < len(told):
        repeat = next((each for length in range(1, _LONGEST + 1) if (each := _repeat(told, place, length))), None)
        if repeat is None:
            place += 1
        else:
            found[repeat.first[-1]] = repeat
            place = repeat.again[-1] + 1
    return found


def _repeat(told: Sequence[object], start: int, length: int) -> Repeat | None:
    first = told[start : start + length]
    end = start + length
    while None not in first and told[end : end + length] == first:
        end += length
    repeat = Repeat(tuple(range(start, start + length)), tuple(range(start + length, end)))
    # Two steps that come twice are no rule yet.
    return repeat if repeat.times >= (1 if length == 1 else 2) else None
