"""Source text as a syntax tree."""

from __future__ import annotations

import ast

from .collector import CollectorPaused


def syntax_tree(source: str) -> ast.Module | None:
    """Its tree; None of what is no Python, or none that this parser can read.

    Until Python 3.11.8, `ast.parse` fails if another call of it comes in between (gh-106905), as when the
    garbage collector finds a task that has failed: the traceback of its error is printed.
    """
    with CollectorPaused():
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
