import asyncio
from unittest.mock import AsyncMock

import pytest

from resync.api.chat import run_auditor_safely
from resync.auditor import analyze_and_flag_memories
from resync.judges import judge_by_wording
from resync.parts import use
from resync.store import Judgement, Memory, Verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("Tea is good.", Verdict.RIGHT),
        ("Perhaps it is.", Verdict.DOUBTFUL),
        ("", Verdict.WRONG),
        (" \n", Verdict.WRONG),
    ],
)
@pytest.mark.asyncio
async def test_an_answer_is_judged_by_its_wording(answer, verdict):
    assert await judge_by_wording(Memory(1, "ada", "?", answer)) is verdict


@pytest.mark.asyncio
async def test_wrong_memories_are_deleted_and_doubtful_ones_flagged(store):
    for answer in ["yes", "perhaps", "", "no"]:
        await store.add("ada", "?", answer)

    assert await analyze_and_flag_memories() == {"processed": 4, "deleted": 1, "flagged": 1}

    assert [memory.answer for memory in await store.memories()] == ["yes", "perhaps", "no"]
    assert Judgement(2, Verdict.DOUBTFUL) in await store.judgements()


@pytest.mark.asyncio
async def test_judged_memories_are_not_judged_again(store):
    await store.add("ada", "?", "perhaps")
    await analyze_and_flag_memories()

    assert await analyze_and_flag_memories() == {"processed": 0, "deleted": 0, "flagged": 0}
    assert await store.judgements() == [Judgement(1, Verdict.DOUBTFUL)]


@pytest.mark.asyncio
async def test_a_memory_whose_judge_failed_waits_for_the_next_audit(store):
    await store.add("ada", "?", "perhaps")
    with use(judge=AsyncMock(side_effect=ConnectionError("the judge is out"))), pytest.raises(ConnectionError):
        await analyze_and_flag_memories()

    assert await analyze_and_flag_memories() == {"processed": 1, "deleted": 0, "flagged": 1}


@pytest.mark.asyncio
async def test_a_failed_audit_is_logged_with_its_traceback(store, caplog):
    await store.add("ada", "?", "perhaps")
    with use(judge=AsyncMock(side_effect=ConnectionError("the judge is out"))):
        await run_auditor_safely()

    [record] = caplog.records
    assert (record.levelname, record.message) == ("ERROR", "the audit failed")
    assert "the judge is out" in caplog.text


@pytest.mark.asyncio
async def test_a_cancelled_audit_ends_cancelled_and_logs_nothing(store, caplog):
    asked = asyncio.Event()

    async def ponder(_memory):
        asked.set()
        await asyncio.Event().wait()

    await store.add("ada", "?", "perhaps")
    with use(judge=ponder):
        audit = asyncio.create_task(run_auditor_safely())
        await asked.wait()
        audit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await audit

    assert caplog.records == []
