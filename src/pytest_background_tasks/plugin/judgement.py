"""The judgement of a test that uses the fixture ``background_tasks``, after its call: its errors and its notes."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from .._introspect.untrusted import add_note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._control.test_context import TestContext

CONTEXT: pytest.StashKey[TestContext] = pytest.StashKey()


@contextmanager
def judged(item: pytest.Item) -> Iterator[None]:
    """Call the test inside the block: fail it if it is deadlocked, even if it has caught the error; add its notes."""
    __tracebackhide__ = True
    try:
        yield
    except Exception as error:
        if context := item.stash.get(CONTEXT, None):
            if context.lost_error is not None:
                add_note(error, f"before that: {context.lost_error}")
            if notes := context.failure_notes():
                item.add_report_section("call", "background_tasks", notes)
        raise
    if context := item.stash.get(CONTEXT, None):
        if context.lost_error is not None:
            raise context.lost_error
        if poller := context.check_virtual_time():
            from ..warnings import BackgroundTaskWarning

            text, at = poller
            warnings.warn_explicit(text, BackgroundTaskWarning, at.file, at.line)
