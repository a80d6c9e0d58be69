"""Two concurrent audits: the second normally reads the memories after the first has finished. A delay changes that."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from pytest_background_tasks import Explorer, explore
from resync.auditor import analyze_and_flag_memories
from resync.parts import use
from resync.store import Store


async def audit_after_a_look(store):
    await store.memories()
    await analyze_and_flag_memories()


async def judged_twice_at_once(store):
    await store.add("ada", "Is it?", "perhaps")
    await asyncio.gather(analyze_and_flag_memories(), audit_after_a_look(store))
    assert len(await store.judgements()) == 1


@pytest.mark.asyncio
async def test_alone_it_passes(store):
    # With a single thread for SQLite, the results arrive in the order of the queries.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    await judged_twice_at_once(store)


@pytest.mark.xfail(
    strict=True, inject_errors=AssertionError, reason="a known bug: two audits can judge the same memory"
)
@explore(arrivals="thread")
async def test_explored_it_fails(store):
    await judged_twice_at_once(store)


@pytest.fixture
def with_a_store(tmp_path):
    """A function that turns a function of a store into a scenario in which each run has a new store."""
    number = count()

    def with_a_store(function):
        async def scenario():
            with use(store=Store(tmp_path / f"{next(number)}.db")) as parts:
                await function(parts.store)

        return scenario

    return with_a_store


def test_one_late_answer_is_enough(with_a_store):
    scenario = with_a_store(judged_twice_at_once)
    assert Explorer(max_deviations=0).explore(scenario).failure is None
    failure = Explorer(arrivals="thread").explore(scenario).failure
    assert len(failure.schedule) == 1
    assert failure.delayed_kinds == {"thread"}


async def judged_one_after_the_other(store):
    lock = asyncio.Lock()

    async def audit():
        async with lock:
            await analyze_and_flag_memories()

    async def audit_after_a_look():
        await store.memories()
        await audit()

    await store.add("ada", "Is it?", "perhaps")
    await asyncio.gather(audit(), audit_after_a_look())
    assert len(await store.judgements()) == 1


@explore(max_deviations=1)
async def test_repaired_it_passes_in_every_order(store):
    await judged_one_after_the_other(store)


def test_every_order_was_tried(with_a_store):
    exploration = Explorer(max_deviations=1).explore(with_a_store(judged_one_after_the_other))
    assert exploration.failure is None
    assert exploration.verdict in ("exhaustive", "bounded")
