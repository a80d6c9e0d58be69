"""The judges, which rate answers."""

from collections.abc import Awaitable, Callable

from resync.store import Memory, Verdict

Judge = Callable[[Memory], Awaitable[Verdict]]


async def judge_by_wording(memory: Memory) -> Verdict:
    """Rate an empty answer as wrong, an answer that hedges as doubtful, and any other as right."""
    if not memory.answer.strip():
        return Verdict.WRONG
    if "perhaps" in memory.answer.lower():
        return Verdict.DOUBTFUL
    return Verdict.RIGHT
