"""The test decides when background asyncio work runs.

The names below are the public API; most tests need none of them, only the fixture ``background_tasks``. Each name is
loaded when it is first used, so that a session without background tasks does not pay for the plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._capture.captured_task import CapturedTask
    from ._capture.targets import Target
    from ._explore.answer import answer
    from ._explore.result import Exploration, Failure
    from ._explore.schedule import Cancel, Delay, NetworkFault, Raise, Schedule, Slow
    from ._explore.trace import ExecutedLine, Outcome, Step, StepDetail, Trace
    from ._introspect.location import SourceLocation
    from ._introspect.wait_reason import WaitPoint, WaitReason
    from ._network.network_event import NetworkEvent
    from ._report.explorer import Explorer
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
    from .fixture import BackgroundTasks
    from .plugin.explore.decorator import explore
    from .virtual_network import VirtualNetwork
    from .virtual_time import VirtualTime
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
    "NetworkEvent",
    "NetworkFault",
    "NonDeterministicTest",
    "Outcome",
    "Raise",
    "ReplayError",
    "Schedule",
    "ScheduleSyntaxError",
    "Slow",
    "SourceLocation",
    "Step",
    "StepDetail",
    "StepLimitExceeded",
    "Target",
    "TooManyBackgroundTasks",
    "Trace",
    "UncontrolledOperation",
    "UnhandledTaskExceptionWarning",
    "VirtualNetwork",
    "VirtualTime",
    "WaitPoint",
    "WaitReason",
    "answer",
    "explore",
]

_HOMES = {
    "BackgroundTasks": "fixture",
    "Cancel": "_explore.schedule",
    "CapturedTask": "_capture.captured_task",
    "Delay": "_explore.schedule",
    "ExecutedLine": "_explore.trace",
    "Exploration": "_explore.result",
    "Explorer": "_report.explorer",
    "Failure": "_explore.result",
    "NetworkEvent": "_network.network_event",
    "NetworkFault": "_explore.schedule",
    "Outcome": "_explore.trace",
    "Raise": "_explore.schedule",
    "Schedule": "_explore.schedule",
    "Slow": "_explore.schedule",
    "SourceLocation": "_introspect.location",
    "Step": "_explore.trace",
    "StepDetail": "_explore.trace",
    "Target": "_capture.targets",
    "Trace": "_explore.trace",
    "VirtualNetwork": "virtual_network",
    "VirtualTime": "virtual_time",
    "WaitPoint": "_introspect.wait_reason",
    "WaitReason": "_introspect.wait_reason",
    "answer": "_explore.answer",
    "explore": "plugin.explore.decorator",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "warnings" if name.endswith("Warning") else "errors")
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return __all__
