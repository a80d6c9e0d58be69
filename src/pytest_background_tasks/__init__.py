"""The test decides when background asyncio work runs.

The names below are the public API; most tests need none of them, only the fixture ``background_tasks``. Each name is
loaded when it is first used, so that a session without background tasks does not pay for the plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .capture.captured import CapturedTask
    from .errors import (
        BackgroundTasksDeadlock,
        BackgroundTasksError,
        BackgroundTasksTimeout,
        Deadlock,
        ExploreError,
        LeakedTasks,
        Livelock,
        NoSuchBackgroundTask,
        NotDeterministic,
        NotPlayable,
        ReplayError,
        ScheduleSyntaxError,
        TooManyBackgroundTasks,
    )
    from .explorer.exploration import Exploration, Failure
    from .explorer.explorer import Explorer
    from .explorer.schedule import Cancel, Late, Raise, Schedule, Slow
    from .explorer.trace import Outcome, Ran, Step, Told, Trace
    from .exploring.decorator import explore
    from .fixture import BackgroundTasks
    from .sites import Site
    from .targets import Target
    from .virtual_time import VirtualTime
    from .wait_reason import Wait, WaitReason
    from .warnings import BackgroundTaskWarning, LeakedTaskWarning, UnhandledTaskWarning, UnreferencedTaskWarning

__all__ = [
    "BackgroundTaskWarning",
    "BackgroundTasks",
    "BackgroundTasksDeadlock",
    "BackgroundTasksError",
    "BackgroundTasksTimeout",
    "Cancel",
    "CapturedTask",
    "Deadlock",
    "Exploration",
    "ExploreError",
    "Explorer",
    "Failure",
    "Late",
    "LeakedTaskWarning",
    "LeakedTasks",
    "Livelock",
    "NoSuchBackgroundTask",
    "NotDeterministic",
    "NotPlayable",
    "Outcome",
    "Raise",
    "Ran",
    "ReplayError",
    "Schedule",
    "ScheduleSyntaxError",
    "Site",
    "Slow",
    "Step",
    "Target",
    "Told",
    "TooManyBackgroundTasks",
    "Trace",
    "UnhandledTaskWarning",
    "UnreferencedTaskWarning",
    "VirtualTime",
    "Wait",
    "WaitReason",
    "explore",
]

_HOMES = {
    "BackgroundTasks": "fixture",
    "Cancel": "explorer.schedule",
    "CapturedTask": "capture.captured",
    "Exploration": "explorer.exploration",
    "Explorer": "explorer.explorer",
    "Failure": "explorer.exploration",
    "Late": "explorer.schedule",
    "Raise": "explorer.schedule",
    "Outcome": "explorer.trace",
    "Ran": "explorer.trace",
    "Schedule": "explorer.schedule",
    "Site": "sites",
    "Slow": "explorer.schedule",
    "Step": "explorer.trace",
    "Target": "targets",
    "Told": "explorer.trace",
    "Trace": "explorer.trace",
    "VirtualTime": "virtual_time",
    "Wait": "wait_reason",
    "WaitReason": "wait_reason",
    "explore": "exploring.decorator",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "warnings" if name.endswith("Warning") else "errors")
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return __all__
