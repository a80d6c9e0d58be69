"""The test decides when background asyncio work runs.

The names below are all there is to import; most tests need none of them, only the fixture ``background_tasks``.
They are loaded when first used: a session that uses nothing of this plugin does not pay for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .capture.captured import CapturedTask
    from .errors import (
        BackgroundTasksDeadlock,
        BackgroundTasksError,
        BackgroundTasksTimeout,
        NoSuchBackgroundTask,
        TooManyBackgroundTasks,
    )
    from .fixture import BackgroundTasks
    from .sites import Site
    from .targets import Target
    from .virtual_time import VirtualTime
    from .waits import Wait

__all__ = [
    "BackgroundTasks",
    "BackgroundTasksDeadlock",
    "BackgroundTasksError",
    "BackgroundTasksTimeout",
    "CapturedTask",
    "NoSuchBackgroundTask",
    "Site",
    "Target",
    "TooManyBackgroundTasks",
    "VirtualTime",
    "Wait",
]

_HOMES = {
    "BackgroundTasks": "fixture",
    "CapturedTask": "capture.captured",
    "Site": "sites",
    "Target": "targets",
    "VirtualTime": "virtual_time",
    "Wait": "waits",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)


def __dir__() -> list[str]:
    return __all__
