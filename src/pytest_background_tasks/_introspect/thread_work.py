"""The work that a thread of a pool is doing.

Private names of other packages used here: ``work_item`` of a worker of `concurrent.futures`, and ``future`` of one of
anyio.
"""

import sys
import threading
from types import FrameType
from typing import Any

_NAME_OF_WORK = {
    ("concurrent.futures.thread", "_worker"): "work_item",
    ("anyio._backends._asyncio", "run"): "future",
}


def work_of(thread: threading.Thread) -> Any:
    """Return the work item that a thread of a pool runs now; None if it waits for work, or is no such thread."""
    frame: FrameType | None = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        name = _NAME_OF_WORK.get((frame.f_globals.get("__name__", ""), frame.f_code.co_name))
        if name is not None:
            return frame.f_locals.get(name)
        frame = frame.f_back
    return None
