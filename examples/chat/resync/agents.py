"""The agents, which answer messages."""

from collections.abc import Awaitable, Callable

Agent = Callable[[str, str], Awaitable[str]]
"""A function that returns the answer of an agent, given the agent's id and a message."""


async def parrot(agent_id: str, message: str) -> str:
    """Repeat statements, hedge on questions, answer silence with silence: one answer for each verdict of the judge."""
    if message.endswith("?"):
        return f"{agent_id}: perhaps."
    return message and f"{agent_id}: {message}"
