"""What is reported of background tasks, and how it may be.

Every session loads this, so its class is a plain one: to make a named tuple would take longer than all the rest.
"""

from __future__ import annotations


class Kind:
    """One kind of report.

    Attributes:
        default: how it is reported if nobody says otherwise.
        off: that it is not, or not everywhere.
        modes: all ways in which it may be reported.
        what: what it does, for ``--help``.
    """

    def __init__(self, default: str, off: str, more: tuple[str, ...], what: str) -> None:
        self.default: str = default
        self.off: str = off
        self.modes: tuple[str, ...] = (off, *more)
        self.what: str = what


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
