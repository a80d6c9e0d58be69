"""The kinds of finding about background tasks, and the modes in which they may be reported.

Every session loads this module, so its class is a plain one: creating a named tuple would take longer than the rest.
"""

from __future__ import annotations


class FindingKind:
    """One kind of finding.

    Attributes:
        default: the default mode.
        disabled: the mode in which it is not reported, or not in every test.
        modes: all modes.
        help: the text for ``--help``.
    """

    def __init__(self, default: str, off: str, more: tuple[str, ...], what: str) -> None:
        self.default: str = default
        self.disabled: str = off
        self.modes: tuple[str, ...] = (off, *more)
        self.help: str = what


_MORE = ("warn", "error")

KINDS = {
    "unhandled": FindingKind("warn", "ignore", _MORE, "report background tasks whose exception was never retrieved"),
    "leaked": FindingKind("ignore", "ignore", _MORE, "report background tasks that outlive their test"),
    "destroyed": FindingKind(
        "warn",
        "ignore",
        (*_MORE, "gc"),
        "report background tasks that were garbage-collected while pending; gc: warn, and force garbage collection",
    ),
    "deadlock": FindingKind(
        "fixture",
        "fixture",
        ("error",),
        "fail a test that is deadlocked; fixture: only if it uses background_tasks or virtual_time",
    ),
}
