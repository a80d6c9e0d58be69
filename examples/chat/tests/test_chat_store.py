import asyncio

import pytest

from resync.store import Judgement, Memory, Store, Verdict


@pytest.mark.asyncio
async def test_file_is_created_on_first_use(tmp_path):
    store = Store(tmp_path / "resync.db")
    assert list(tmp_path.iterdir()) == []

    assert await store.memories() == []
    assert [path.name for path in tmp_path.iterdir()] == ["resync.db"]


@pytest.mark.asyncio
async def test_stores_on_the_same_file_share_their_data(store):
    await store.add("ada", "Is it?", "Perhaps.")
    [memory] = await store.memories()
    await store.record(memory, Verdict.DOUBTFUL)

    other = Store(store.path)
    assert await other.memories() == [Memory(1, "ada", "Is it?", "Perhaps.")]
    assert await other.judgements() == [Judgement(1, Verdict.DOUBTFUL)]


@pytest.mark.asyncio
async def test_the_most_recent_memories_are_judged_first(store):
    for answer in "abcd":
        await store.add("ada", "?", answer)
    newest = (await store.memories())[-1]
    await store.record(newest, Verdict.RIGHT)

    assert [memory.answer for memory in await store.unjudged(limit=2)] == ["c", "b"]


@pytest.mark.asyncio
async def test_id_of_a_deleted_memory_is_never_reused(store):
    await store.add("ada", "?", "")
    [memory] = await store.memories()
    await store.delete(memory)
    await store.add("ada", "?", "yes")

    assert await store.memories() == [Memory(2, "ada", "?", "yes")]


@pytest.mark.asyncio
async def test_concurrent_writes_to_a_new_file_succeed(store):
    await asyncio.gather(*(store.add("ada", str(number), "yes") for number in range(20)))

    assert {memory.message for memory in await store.memories()} == {str(number) for number in range(20)}
