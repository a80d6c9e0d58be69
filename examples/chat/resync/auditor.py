"""The auditor, which judges stored answers."""

from typing import TypedDict

from resync.parts import parts_in_use
from resync.store import Verdict


class Report(TypedDict):
    """The numbers of memories that an audit processed, deleted and flagged."""

    processed: int
    deleted: int
    flagged: int


async def analyze_and_flag_memories() -> Report:
    """Judge the recent memories that have no judgement yet: delete the wrong ones, flag the doubtful ones.

    If the judge fails on a memory, the next audit judges that memory again.
    """
    parts = await parts_in_use()
    report = Report(processed=0, deleted=0, flagged=0)
    for memory in await parts.store.unjudged():
        verdict = await parts.judge(memory)
        if verdict is Verdict.WRONG:
            await parts.store.delete(memory)
        else:
            await parts.store.record(memory, verdict)
        report["processed"] += 1
        report["deleted"] += verdict is Verdict.WRONG
        report["flagged"] += verdict is Verdict.DOUBTFUL
    return report
