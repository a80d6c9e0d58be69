"""Who answers."""

from collections.abc import Awaitable, Callable

Agent = Callable[[str, str], Awaitable[str]]
"""Given the agent's id and a message, what does it answer?"""


async def parrot(agent_id: str, message: str) -> str:
    """Repeat statements, hedge at questions, meet silence with silence: some work for every verdict of the judge."""
    if message.endswith("?"):
        return f"{agent_id}: perhaps."
    return message and f"{agent_id}: {message}"
