"""The failed background tasks, for an error about waiting, because their failure may be the reason."""

from collections.abc import Collection, Iterator
from traceback import format_exception_only

from .._capture.held_task import HeldTask
from .._capture.session import CaptureSession
from .._introspect.internals import exception_of
from .._introspect.location import raising_locations
from .._introspect.suspension import task_label
from .._introspect.text import indented
from ..errors import DeadlockError

_SHOWN = 3  # how many are named before "and 5 more"


def failed(capture: CaptureSession, but: Collection[HeldTask] = ()) -> str:
    """Return a line for each background task of the test that has failed, whether or not its exception was retrieved.

    Args:
        capture: the captured tasks of the test.
        but: captured tasks that the error already names as failed.
    """
    lines = [
        f"{who} has failed with {_first_line(error)}{_place(error, capture)}"
        for who, error in _failures(capture, but)
        if not isinstance(error, DeadlockError)  # this or an earlier deadlock error
    ]
    if len(lines) > _SHOWN:
        lines[_SHOWN:] = [f"{len(lines) - _SHOWN} more have failed"]
    return indented(lines)


def _failures(capture: CaptureSession, but: Collection[HeldTask]) -> Iterator[tuple[str, BaseException]]:
    for task in capture.tasks:
        if task.failed and task not in but:
            yield f"background task {task_label(task)}", exception_of(task)  # type: ignore[misc]  # it has failed
    yield from capture.other_failures()


def _first_line(error: BaseException) -> str:
    return "".join(format_exception_only(error)).splitlines()[0]


def _place(error: BaseException, capture: CaptureSession) -> str:
    return "".join(f", at {site}" for site in raising_locations(error, capture.is_project)[-1:])
