"""What is reported of background tasks, and how it may be."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of report.

    Attributes:
        default: how it is reported if nobody says otherwise.
        off: that it is not, or not everywhere.
        more: the other ways.
        what: what it does, for ``--help``.
    """

    default: str
    off: str
    more: tuple[str, ...]
    what: str

    @property
    def modes(self) -> tuple[str, ...]:
        """All ways in which it may be reported."""
        return (self.off, *self.more)


_MORE = ("warn", "error")

KINDS = {
    "failed": Kind("warn", "ignore", _MORE, "report background tasks whose error nobody has looked at"),
    "leaked": Kind("ignore", "ignore", _MORE, "report background tasks that outlive their test"),
    "unreferenced": Kind(
        "warn",
        "ignore",
        (*_MORE, "search"),
        "report background tasks that were destroyed before they ended; search: warn, and look for more",
    ),
    "deadlock": Kind(
        "fixture",
        "fixture",
        ("error",),
        "end a test that can never go on; fixture: if it uses background_tasks or virtual_time",
    ),
}
