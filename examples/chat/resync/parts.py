"""The parts that the service is made of, and how to replace them."""

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
    """Everything that a test or another deployment may want to be different."""

    agent: Agent = parrot
    judge: Judge = judge_by_wording
    store: Store = field(default_factory=_default_store)


_in_use = Parts()


async def parts_in_use() -> Parts:
    """The parts to work with now: a FastAPI dependency for endpoints, awaited by whatever runs outside a request.

    A plain function would do, but FastAPI sends those to a worker thread.
    """
    return _in_use


@contextmanager
def use(*, agent: Agent | None = None, judge: Judge | None = None, store: Store | None = None) -> Iterator[Parts]:
    """Put other parts in place, for the whole process, until the `with` block ends.

    Not a context variable: a server that already runs in another thread would not see it.
    """
    global _in_use  # noqa: PLW0603 - the only place that changes it, and it changes it back
    before = _in_use
    _in_use = replace(before, agent=agent or before.agent, judge=judge or before.judge, store=store or before.store)
    try:
        yield _in_use
    finally:
        _in_use = before
