"""Source text as a syntax tree."""

from __future__ import annotations

import ast

from .garbage_collection import GarbageCollectionDisabled


def syntax_tree(source: str) -> ast.Module | None:
    """Return the syntax tree of `source`; None if it is not Python, or not of a version that this parser can read.

    Before Python 3.11.8, `ast.parse` fails if it is called again while it runs (gh-106905), such as when the garbage
    collector finds a failed task and the traceback of its exception is printed.
    """
    with GarbageCollectionDisabled():
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
