"""Every warning that a user can meet; each docstring names the cure.

They derive from pytest's warning class, so that its filters and its summary treat them as pytest's own.
"""

import pytest


class BackgroundTaskWarning(pytest.PytestWarning):
    """A problem with a background task that nothing else would have reported."""

    __module__ = "pytest_background_tasks"


class UnhandledTaskExceptionWarning(BackgroundTaskWarning):
    """The exception of a background task, or of a callback of the event loop, was never retrieved.

    Await the task, or give it a done callback that reads ``task.exception()``. To silence this warning: ini
    ``background_tasks_unhandled = ignore``.
    """

    __module__ = "pytest_background_tasks"


class LeakedTaskWarning(BackgroundTaskWarning):
    """A background task was still pending when its test ended, or was held and never run.

    Await the task, or cancel and await it, in the code that is responsible for it; or name it in
    ``@pytest.mark.background_tasks(allow=[...])``.
    """

    __module__ = "pytest_background_tasks"


class DestroyedTaskWarning(BackgroundTaskWarning):
    """A background task was garbage-collected while pending, because only the event loop referred to it.

    The loop keeps weak references to tasks. Keep a strong one until the task is done:
    ``tasks.add(task); task.add_done_callback(tasks.discard)``.
    """

    __module__ = "pytest_background_tasks"
