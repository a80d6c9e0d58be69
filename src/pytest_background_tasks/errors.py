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


class ExploreError(Exception):
    """An exploration could not be made; the message says what to write instead."""


class ScheduleSyntaxError(ExploreError, ValueError):
    """The text of a schedule cannot be read; the message points at the place.

    Copy the whole replay line of the failure, or write one in the form that the message shows.
    """


class ReplayError(ExploreError, LookupError):
    """A schedule names a task or a step that the scenario does not have, or has no more; the message lists what it has.

    Write one of those; or explore again, for the scenario has changed since (or the minor version of Python has).
    """


class NotDeterministic(ExploreError):
    """The scenario does not do the same twice, so an order of it cannot be played; the message says where they part.

    Usual reasons: a `set` of strings or objects that is iterated, ``id()``, the wall clock, a cache or a counter that
    lives on outside the scenario. Take the state into the scenario, or set it back at its start; sort what has no
    order. (``random`` is no reason: it starts from the same state in every run.)
    """


class NotPlayable(ExploreError):
    """The scenario uses something real that no schedule can order: a socket, a subprocess, a signal, a foreign thread.

    The message names the call and what to use instead: usually an in-memory transport or a fake of the outside.
    """


class Deadlock(AssertionError):
    """Nothing can go on, and the scenario has not ended; the message says who waits for what, and who holds it.

    Or the scenario has ended, and has left tasks that wait for each other in a circle: ``asyncio.run`` could not cancel
    them, and would end in a `RecursionError`. What the scenario itself ended with is the cause.
    """


class Livelock(AssertionError):
    """The scenario took more than ``max_steps`` steps; the message names the busiest tasks.

    Usually somebody polls for what will never come. A scenario that is just long needs a larger ``max_steps``.
    """


class LeakedTasks(AssertionError):
    """Tasks were pending when the scenario ended, and ``leaks=True`` was asked for; the message names them.

    Await them, or cancel and await them, before the scenario ends.
    """
