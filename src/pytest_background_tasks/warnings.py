"""Every warning a user can meet; each docstring says the cure.

These are pytest's warnings, so that its filters and its summary treat them as its own.
"""

import pytest


class BackgroundTaskWarning(pytest.PytestWarning):
    """Something went wrong with a background task, and nothing else would have said so."""

    __module__ = "pytest_background_tasks"


class UnhandledTaskWarning(BackgroundTaskWarning):
    """A background task or a callback of the event loop failed, and nobody looked at its error.

    Await the task, or give it a done callback that looks at ``task.exception()``. To hear no more of it: ini
    ``background_tasks_failed = ignore``.
    """

    __module__ = "pytest_background_tasks"


class LeakedTaskWarning(BackgroundTaskWarning):
    """A background task was still there when its test was over, or was held and never run.

    Await it, or cancel and await it, in the code that is responsible for it; or name it in
    ``@pytest.mark.background_tasks(allow=[...])``.
    """

    __module__ = "pytest_background_tasks"


class UnreferencedTaskWarning(BackgroundTaskWarning):
    """A background task was destroyed before it had ended, because nothing but the event loop knew of it.

    The loop holds tasks weakly. Keep a reference until the task is done:
    ``tasks.add(task); task.add_done_callback(tasks.discard)``.
    """

    __module__ = "pytest_background_tasks"
