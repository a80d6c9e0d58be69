"""Every error that a user can meet; each docstring names the cure. (Warnings are pytest's, in ``warnings.py``)."""


class BackgroundTasksError(Exception):
    """The base of the errors of the fixtures; the message says what went wrong, where, and what to write instead."""

    __module__ = "pytest_background_tasks"


class BackgroundTaskNotFound(BackgroundTasksError, LookupError):
    """A target matches none of the held tasks.

    The message lists the held tasks. Write one of their names, or start the code under test before the running method.
    """

    __module__ = "pytest_background_tasks"


class BackgroundTasksTimeout(BackgroundTasksError, TimeoutError):
    """A running method exceeded its ``timeout``; the message names each unfinished task and the line where it waits.

    Give the task what it waits for, cancel it first (a task that never ends by design), run only the others
    (``run_async(target)``), or pass a longer ``timeout=`` (seconds; ``None`` disables it).
    """

    __module__ = "pytest_background_tasks"


class DeadlockError(BackgroundTasksError, AssertionError):
    """Every task is blocked, and no external event can wake one; the message says what each task waits for.

    If background tasks are held, the test usually waits for something that one of them would do. Run them before
    waiting (``await background_tasks.run_all_async()``), or do not hold them (``start_capturing(ignore=...)``). Waiting
    for the task itself (``await task``) needs neither, because it starts the task.

    ``@explore`` also raises it for a test that has ended and left tasks that wait for each other in a circle:
    ``asyncio.run`` could not cancel them, and would end in a `RecursionError`. The exception that the test itself ended
    with is the cause.
    """

    __module__ = "pytest_background_tasks"


class TooManyBackgroundTasks(BackgroundTasksError):
    """Tasks kept starting tasks, more than a running method follows; the message names the most frequent one.

    Usually a job restarts itself forever. Call ``stop_capturing()`` first to let it do so unobserved, or replace in the
    test what the job starts.
    """

    __module__ = "pytest_background_tasks"


class ExplorationError(Exception):
    """A test cannot be explored; the message says what to write instead."""

    __module__ = "pytest_background_tasks"


class ScheduleSyntaxError(ExplorationError, ValueError):
    """The text of a schedule cannot be parsed; the message points at the place.

    Copy the whole replay line of the failure, or write a schedule in the form that the message shows.
    """

    __module__ = "pytest_background_tasks"


class ReplayError(ExplorationError, LookupError):
    """A schedule names a task or a step that the test does not have, or no longer has; the message lists the others.

    Write one of those, or explore again: the test (or the minor version of Python) has changed since.
    """

    __module__ = "pytest_background_tasks"


class NonDeterministicTest(ExplorationError):
    """Two runs of the same schedule differ, so the test cannot be explored; the message says where they differ.

    Usual reasons: iteration over a `set` of strings or objects, ``id()``, the wall clock, a cache or a counter that
    outlives the test. Move the state into the test, or reset it at the start; sort unordered collections.
    (``random`` is not a reason: if it matters, it gives the same numbers in each run.)
    """

    __module__ = "pytest_background_tasks"


class UncontrolledOperation(ExplorationError):
    """The test uses something real that no schedule can control: a socket, a subprocess, a signal, a foreign thread.

    The message names the call and what to use instead: usually an in-memory transport or a fake of the remote side.

    Attributes:
        kind: ``network``, ``process``, ``signal``, ``thread``, or ``loop`` for an event loop that is not asyncio's.
    """

    __module__ = "pytest_background_tasks"

    def __init__(self, message: str, kind: str = "thread") -> None:
        super().__init__(message)
        self.kind: str = kind


class StepLimitExceeded(AssertionError):
    """The test took more than ``max_steps`` steps; the message names the busiest tasks.

    Usually a task polls for something that never comes. A test that is merely long needs a larger ``max_steps``.
    """

    __module__ = "pytest_background_tasks"


class LeakedTasks(AssertionError):
    """Tasks were pending when the test ended, and ``fail_on_leaks=True`` was given; the message names them.

    Await them, or cancel and await them, before the test ends.
    """

    __module__ = "pytest_background_tasks"
