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
    from .warnings import BackgroundTaskWarning, LeakedTaskWarning, UnhandledTaskWarning, UnreferencedTaskWarning

__all__ = [
    "BackgroundTaskWarning",
    "BackgroundTasks",
    "BackgroundTasksDeadlock",
    "BackgroundTasksError",
    "BackgroundTasksTimeout",
    "CapturedTask",
    "LeakedTaskWarning",
    "NoSuchBackgroundTask",
    "Site",
    "Target",
    "TooManyBackgroundTasks",
    "UnhandledTaskWarning",
    "UnreferencedTaskWarning",
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
    home = _HOMES.get(name, "warnings" if name.endswith("Warning") else "errors")
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return __all__
