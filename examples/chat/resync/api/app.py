"""The application: the chat, a web page to try it by hand, and the stored data."""

from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from resync.api import chat
from resync.parts import Parts, parts_in_use
from resync.store import Judgement, Memory

_PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

app = FastAPI(title="resync")
app.include_router(chat.router)


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    """Return a web page to chat with an agent by hand."""
    return _PAGE


@app.get("/conversations")
async def conversations(parts: Annotated[Parts, Depends(parts_in_use)]) -> list[Memory]:
    """Return all memories, oldest first."""
    return await parts.store.memories()


@app.get("/audit")
async def audit(parts: Annotated[Parts, Depends(parts_in_use)]) -> list[Judgement]:
    """Return all judgements, oldest first."""
    return await parts.store.judgements()
