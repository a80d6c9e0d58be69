"""The conversation, and the audit that follows each answer in the background."""

import asyncio
import logging
from typing import Annotated

from fastapi import APIRouter, Depends, WebSocket, WebSocketDisconnect

from resync.auditor import analyze_and_flag_memories
from resync.parts import Parts, parts_in_use

logger = logging.getLogger(__name__)
router = APIRouter()

# The event loop keeps only weak references to its tasks; without this set, a pending audit could be garbage-collected.
_audits: set[asyncio.Task[None]] = set()


@router.websocket("/ws/{agent_id}")
async def chat(websocket: WebSocket, agent_id: str, parts: Annotated[Parts, Depends(parts_in_use)]) -> None:
    """Answer each text message with one text message, until the client disconnects."""
    await websocket.accept()
    try:
        async for message in websocket.iter_text():
            answer = await parts.agent(agent_id, message)
            await parts.store.add(agent_id, message, answer)
            # Start the audit before sending the answer: a client that has received an answer may rely on its being
            # stored and audited, even if the client disconnects immediately.
            audit = asyncio.create_task(run_auditor_safely())
            _audits.add(audit)
            audit.add_done_callback(_audits.discard)
            await websocket.send_text(answer)
    except WebSocketDisconnect:
        logger.info("the client of %s disconnected before the answer", agent_id)


async def run_auditor_safely() -> None:
    """Audit, and log any exception: no code awaits this background task, so the exception would never be retrieved."""
    try:
        report = await analyze_and_flag_memories()
    except Exception:
        logger.exception("the audit failed")
    else:
        logger.info("audit: %s", report)
