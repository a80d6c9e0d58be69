"""The store of memories and judgements: two tables in one SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from os import PathLike

# Without AUTOINCREMENT, a new memory could get the id of a deleted one while an audit still judges the deleted one.
_TABLES = """
CREATE TABLE IF NOT EXISTS memories (
    id INTEGER PRIMARY KEY AUTOINCREMENT, agent_id TEXT NOT NULL, message TEXT NOT NULL, answer TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY, memory_id INTEGER NOT NULL, verdict TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Memory:
    """One message of a conversation, and its answer."""

    id: int
    agent_id: str
    message: str
    answer: str


class Verdict(StrEnum):
    """The rating that a judge gives to a memory."""

    RIGHT = "right"
    DOUBTFUL = "doubtful"
    WRONG = "wrong"


@dataclass(frozen=True)
class Judgement:
    """One line of the audit table."""

    memory_id: int
    verdict: Verdict


class Store:
    """Memories and judgements in the SQLite file at `path`, which is created when it is first needed.

    Each call opens a new connection in a worker thread, because SQLite blocks and a connection is bound to its thread.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = path

    async def add(self, agent_id: str, message: str, answer: str) -> None:
        """Store one message and its answer."""
        await self._execute(
            "INSERT INTO memories (agent_id, message, answer) VALUES (?, ?, ?)", agent_id, message, answer
        )

    async def memories(self) -> list[Memory]:
        """Return all memories, oldest first."""
        rows = await self._execute("SELECT id, agent_id, message, answer FROM memories ORDER BY id")
        return [Memory(*row) for row in rows]

    async def unjudged(self, limit: int = 20) -> list[Memory]:
        """Return the most recent memories without a judgement, newest first."""
        rows = await self._execute(
            "SELECT id, agent_id, message, answer FROM memories"
            " WHERE id NOT IN (SELECT memory_id FROM audit) ORDER BY id DESC LIMIT ?",
            limit,
        )
        return [Memory(*row) for row in rows]

    async def delete(self, memory: Memory) -> None:
        """Delete a memory."""
        await self._execute("DELETE FROM memories WHERE id = ?", memory.id)

    async def record(self, memory: Memory, verdict: Verdict) -> None:
        """Add a judgement to the audit table."""
        await self._execute("INSERT INTO audit (memory_id, verdict) VALUES (?, ?)", memory.id, verdict)

    async def judgements(self) -> list[Judgement]:
        """Return all judgements, oldest first."""
        rows = await self._execute("SELECT memory_id, verdict FROM audit ORDER BY id")
        return [Judgement(memory_id, Verdict(verdict)) for memory_id, verdict in rows]

    async def _execute(self, statement: str, *values: object) -> list[Any]:
        return await asyncio.to_thread(self._execute_blocking, statement, values)

    def _execute_blocking(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executescript(_TABLES)
            return connection.execute(statement, values).fetchall()
