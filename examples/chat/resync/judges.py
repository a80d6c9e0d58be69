"""Who judges what was answered."""

from collections.abc import Awaitable, Callable

from resync.store import Memory, Verdict

Judge = Callable[[Memory], Awaitable[Verdict]]


async def judge_by_wording(memory: Memory) -> Verdict:
    """An empty answer is wrong, one that hedges is doubtful, any other is right."""
    if not memory.answer.strip():
        return Verdict.WRONG
    if "perhaps" in memory.answer.lower():
        return Verdict.DOUBTFUL
    return Verdict.RIGHT
