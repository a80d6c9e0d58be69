"""Steps of a run that repeat, such as those of a poll: the first round is shown, the others are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_LONGEST = 12  # steps of one round: a poll with a helper or two, and with another task in between


class Repeat(NamedTuple):
    """Steps that are repeated directly afterwards.

    Attributes:
        first: the indices of the first round.
        again: the indices of all further rounds.
    """

    first: tuple[int, ...]
    again: tuple[int, ...]

    @property
    def times(self) -> int:
        """The number of further rounds."""
        return len(self.again) // len(self.first)

    def __str__(self) -> str:
        count = len(self.first)
        return (
            f"repeated {self.times} more times" if count == 1 else f"these {count} steps repeat {self.times} more times"
        )


def repeats_of(rows: Sequence[object]) -> dict[int, Repeat]:
    """Return the repetitions in a sequence of steps, by the last index of their first round.

    Args:
        rows: the rows of each step; None for a step that is shown in any case.

    >>> repeats_of(["look", "sleep", "look", "sleep", "look", "sleep", "end"])
    {1: Repeat(first=(0, 1), again=(2, 3, 4, 5))}
    """
    found: dict[int, Repeat] = {}
    place = 0
    while place < len(rows):
        repeat = next((each for length in range(1, _LONGEST + 1) if (each := _repeat(rows, place, length))), None)
        if repeat is None:
            place += 1
        else:
            found[repeat.first[-1]] = repeat
            place = repeat.again[-1] + 1
    return found


def _repeat(rows: Sequence[object], start: int, length: int) -> Repeat | None:
    first = rows[start : start + length]
    end = start + length
    while None not in first and rows[end : end + length] == first:
        end += length
    repeat = Repeat(tuple(range(start, start + length)), tuple(range(start + length, end)))
    # Several steps that come twice are not a pattern yet.
    return repeat if repeat.times >= (1 if length == 1 else 2) else None
