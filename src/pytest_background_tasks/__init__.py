"""The test decides when background asyncio work runs.

The names below are the public API; most tests need none of them, only the fixture ``background_tasks``. Each name is
loaded when it is first used, so that a session without background tasks does not pay for the plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .capture.captured import CapturedTask
    from .errors import (
        BackgroundTaskNotFound,
        BackgroundTasksError,
        BackgroundTasksTimeout,
        DeadlockError,
        ExplorationError,
        LeakedTasks,
        NonDeterministicTest,
        ReplayError,
        ScheduleSyntaxError,
        StepLimitExceeded,
        TooManyBackgroundTasks,
        UncontrolledOperation,
    )
    from .explorer.exploration import Exploration, Failure
    from .explorer.explorer import Explorer
    from .explorer.schedule import Cancel, Delay, Outlast, Raise, Schedule
    from .explorer.trace import ExecutedLine, Outcome, Step, StepDetail, Trace
    from .exploring.decorator import explore
    from .fixture import BackgroundTasks
    from .sites import SourceLocation
    from .targets import Target
    from .virtual_time import VirtualTime
    from .wait_reason import WaitPoint, WaitReason
    from .warnings import BackgroundTaskWarning, DestroyedTaskWarning, LeakedTaskWarning, UnhandledTaskExceptionWarning

__all__ = [
    "BackgroundTaskNotFound",
    "BackgroundTaskWarning",
    "BackgroundTasks",
    "BackgroundTasksError",
    "BackgroundTasksTimeout",
    "Cancel",
    "CapturedTask",
    "DeadlockError",
    "Delay",
    "DestroyedTaskWarning",
    "ExecutedLine",
    "Exploration",
    "ExplorationError",
    "Explorer",
    "Failure",
    "LeakedTaskWarning",
    "LeakedTasks",
    "NonDeterministicTest",
    "Outcome",
    "Outlast",
    "Raise",
    "ReplayError",
    "Schedule",
    "ScheduleSyntaxError",
    "SourceLocation",
    "Step",
    "StepDetail",
    "StepLimitExceeded",
    "Target",
    "TooManyBackgroundTasks",
    "Trace",
    "UncontrolledOperation",
    "UnhandledTaskExceptionWarning",
    "VirtualTime",
    "WaitPoint",
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
    "Delay": "explorer.schedule",
    "Raise": "explorer.schedule",
    "Outcome": "explorer.trace",
    "ExecutedLine": "explorer.trace",
    "Schedule": "explorer.schedule",
    "SourceLocation": "sites",
    "Outlast": "explorer.schedule",
    "Step": "explorer.trace",
    "Target": "targets",
    "StepDetail": "explorer.trace",
    "Trace": "explorer.trace",
    "VirtualTime": "virtual_time",
    "WaitPoint": "wait_reason",
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
