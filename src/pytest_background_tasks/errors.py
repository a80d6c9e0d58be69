"""Every error a user can meet; each docstring says the cure. (Warnings are pytest's, and in ``warnings.py``)."""


class BackgroundTasksError(Exception):
    """The fixture was used in a way that cannot work; the message says what to write instead."""


class NoSuchBackgroundTask(BackgroundTasksError, LookupError):
    """A target matches none of the held tasks.

    The message lists what is held. Write one of those names, or start the code under test before the running call.
    """


class BackgroundTasksTimeout(BackgroundTasksError, TimeoutError):
    """A running call took longer than its ``timeout``; the message names each unfinished task and where it waits.

    Give the task what it waits for, cancel it first (a task that never ends by design), run only the others
    (``run_async(target)``), or pass a longer ``timeout=`` (seconds; ``None`` waits for ever).
    """


class BackgroundTasksDeadlock(BackgroundTasksError):
    """Nothing can go on, and tasks are held: what the test waits for would be done by one of them.

    Run them before waiting (``await background_tasks.run_all_async()``), or do not hold them
    (``start_capturing(ignore=...)``). Waiting for the task itself (``await task``) needs neither: that starts it.
    """


class TooManyBackgroundTasks(BackgroundTasksError):
    """Tasks went on starting tasks, more than one running call follows; the message names the busiest.

    Usually a job that starts itself again for ever. ``stop_capturing()`` before the call lets it do so unobserved;
    or replace what it starts in the test.
    """
