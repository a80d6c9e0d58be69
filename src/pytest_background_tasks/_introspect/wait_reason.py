"""The place at which a suspended task waits, and the reason, as values; their text is made when they are printed."""

from typing import Literal, NamedTuple

from .location import SourceLocation
from .text import listing

WaitKind = Literal["sleep", "turn", "lock", "task", "step", "queue", "event", "thread", "stream", "process", "future"]

_LISTED = 3  # tasks


class WaitReason(NamedTuple):
    """The thing that a suspended task waits for, as a value. Its text is ``str(reason)``.

    Attributes:
        kind: ``"sleep"``; ``"turn"``: the next iteration of the event loop; ``"lock"``: a lock, a semaphore or a
            limiter; ``"task"``: the end of one or several tasks; ``"step"``: a step that a test has asked for;
            ``"queue"``: an item or space; ``"event"``: an event, a condition or a barrier; ``"thread"``, ``"stream"``,
            ``"process"``; ``"future"``: any other future.
        subject: the thing in words, without `tasks`; empty if these say all.
        tasks: the names of the tasks that are awaited, or that hold the lock.
        is_shielded: True if it is awaited through `asyncio.shield`.

    >>> print(WaitReason("lock", "a lock", ("Task-2 (audit)",)))
    a lock held by Task-2 (audit)
    """

    kind: WaitKind
    subject: str
    tasks: tuple[str, ...] = ()
    is_shielded: bool = False

    def __str__(self) -> str:
        return f"{self._words()}, shielded" if self.is_shielded else self._words()

    def _words(self) -> str:
        if self.kind == "lock" and self.tasks:
            return f"{self.subject} held by {', '.join(self.tasks)}"
        if self.kind != "task" or not self.tasks:
            return self.subject
        return f"the {'task' if len(self.tasks) == 1 else 'tasks'} {listing(self.tasks, _LISTED)}"


class WaitPoint(NamedTuple):
    """The place at which a task is suspended, and the reason.

    Attributes:
        file: the path of the file.
        line: the number of the line, from 1.
        function: the qualified name of the function.
        reason: the thing that the task waits for.

    >>> print(WaitPoint("/srv/chat/api.py", 28, "answer", WaitReason("lock", "a lock", ("Task-2 (audit)",))))
    /srv/chat/api.py:28 in answer, for a lock held by Task-2 (audit)
    """

    file: str
    line: int
    function: str
    reason: WaitReason

    @property
    def location(self) -> SourceLocation:
        """The place alone."""
        return SourceLocation(*self[:3])

    @property
    def waiting_for(self) -> str:
        """The reason in words."""
        return str(self.reason)

    def __str__(self) -> str:
        return f"{self.location}, for {self.reason}"
