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


async def audit_concurrently(store):
    await store.add("ada", "Is it?", "perhaps")
    await asyncio.gather(analyze_and_flag_memories(), audit_after_a_look(store))
    assert len(await store.judgements()) == 1


@pytest.mark.asyncio
async def test_concurrent_audits_pass_in_the_default_order(store):
    # With a single thread for SQLite, the results arrive in the order of the queries.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    await audit_concurrently(store)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a known bug: two audits can judge the same memory")
@explore(arrivals="thread")
async def test_concurrent_audits_fail_when_explored(store):
    await audit_concurrently(store)


@pytest.fixture
def scenario_with_store(tmp_path):
    """A function that turns a function of a store into a scenario in which each run has a new store."""
    number = count()

    def scenario_with_store(function):
        async def scenario():
            with use(store=Store(tmp_path / f"{next(number)}.db")) as parts:
                await function(parts.store)

        return scenario

    return scenario_with_store


def test_one_delayed_result_causes_the_failure(scenario_with_store):
    scenario = scenario_with_store(audit_concurrently)
    assert Explorer(max_deviations=0).explore(scenario).failure is None
    failure = Explorer(arrivals="thread").explore(scenario).failure
    assert len(failure.schedule) == 1
    assert failure.delayed_kinds == {"thread"}


async def audit_sequentially(store):
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
async def test_repaired_audits_pass_in_every_order(store):
    await audit_sequentially(store)


def test_search_finds_no_failure_in_the_repaired_audits(scenario_with_store):
    exploration = Explorer(max_deviations=1).explore(scenario_with_store(audit_sequentially))
    assert exploration.failure is None
    assert exploration.verdict in ("exhaustive", "bounded")
