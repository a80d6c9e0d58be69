"""The faults that are possible in place of an event of the network. Pure: it sees only values."""

from typing import NamedTuple

_MOST_SENDS = 3

_POSSIBLE = {"data": ("reset", "eof", "split"), "eof": ("reset",), "established": ("refused",)}


class PossibleFaults(NamedTuple):
    """An event of the network, as far as it decides which faults are possible in its place.

    Attributes:
        kind: the kind of the event, as in `NetworkEvent`.
        ends: for data, the number of bytes up to the end of each part that was sent in one call.
        body: for data, the number of bytes before the end of the first blank line, which ends a head as in HTTP; 0 if
            there is none.
    """

    kind: str
    ends: tuple[int, ...] = ()
    body: int = 0

    def places(self, fault: str) -> tuple[int, ...]:
        """Return the numbers of bytes after which a fault may take place: at the ends of parts, and in their middle.

        >>> data = PossibleFaults("data", (4, 10))
        >>> data.places("reset"), data.places("split"), data.places("refused")
        ((0, 4, 5), (1, 4, 5, 9), ())
        """
        if fault not in _POSSIBLE.get(self.kind, ()):
            return ()
        if not self.ends:
            return (0,)
        size = self.ends[-1]
        cuts = {*self.ends[:_MOST_SENDS], size // 2, self.body, (size + self.body) // 2} - {0, size}
        if fault == "split":
            return tuple(sorted(cuts | ({1, size - 1} - {0, size})))
        return (0, *sorted(cuts))
