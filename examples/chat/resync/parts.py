"""The replaceable parts of the service."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from resync.agents import Agent, parrot
from resync.judges import Judge, judge_by_wording
from resync.store import Store


def _default_store() -> Store:
    return Store(os.environ.get("RESYNC_DATABASE", "resync.db"))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts that a test or another deployment may replace."""

    agent: Agent = parrot
    judge: Judge = judge_by_wording
    store: Store = field(default_factory=_default_store)


_in_use = Parts()


async def parts_in_use() -> Parts:
    """Return the parts in use: a FastAPI dependency for endpoints, and a coroutine to await outside of requests.

    A plain function would be enough, but FastAPI runs plain functions in a worker thread.
    """
    return _in_use


@contextmanager
def use(*, agent: Agent | None = None, judge: Judge | None = None, store: Store | None = None) -> Iterator[Parts]:
    """Replace parts for the whole process until the `with` block ends.

    The parts are not in a context variable, because a server that already runs in another thread would not see it.
    """
    global _in_use  # noqa: PLW0603 - the only place that changes it, and it restores it
    before = _in_use
    _in_use = replace(before, agent=agent or before.agent, judge=judge or before.judge, store=store or before.store)
    try:
        yield _in_use
    finally:
        _in_use = before
