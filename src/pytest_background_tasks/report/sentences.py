"""What was different from asyncio's usual order, in sentences: what, where in the code, and whether that can happen."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Deadlock, Livelock
from ..explorer.exploration import Failure
from ..explorer.schedule import Cancel, Deviation, Late, Raise, Schedule, Slow, canonical
from ..explorer.trace import KINDS, Step, Trace
from ..sites import Site, shown_file
from .source import statement, statements

_OUTSIDE = {
    "start": "a task that the test starts: in life a request, a client, a job",
    "yield": "asyncio.sleep(0); in a test it stands for I/O",
    "sleep": "the end of a sleep, which is never punctual",
    "timer": "a time-out or another timer, which is never punctual",
    "thread": "the answer of a thread",
    "mock": "the answer of an AsyncMock, which stands for a real call",
    "any": "any step of a task, as arrivals='any' has it, also what does not come from outside",
}
"""What a kind of arrival is in life."""

_LATE = {"start": "starts late", "sleep": "wakes late from its sleep", "any": "goes on late", None: "goes on late"}
"""How the lateness of a kind of arrival is said; of others, an answer comes late."""


_PARTS = {
    "timer": ("a timer that {} has set (a time-out, a call_later) fires late", "its timer fires late"),
    "thread": ("a thread's answer to {} comes late", "its thread answers late"),
    "call": ("what {} has sent with call_soon_threadsafe comes late", "what it has sent comes late"),
}
"""What arrives without making a step of a task ready: as a sentence, and in a few words."""


def sentence(deviation: Deviation, trace: Trace) -> str:
    """What a deviation means, and at which line of code."""
    site = place_of(deviation, trace)
    where = "" if site is None else f", at {shown_file(site.file)}:{site.line}"
    if ":" in deviation.task:
        owner, _, part = deviation.task.rpartition(":")
        if _is_between(deviation):
            return f"a thread's answer to {owner} comes between two steps{where}"
        return f"{_PARTS[part.partition('#')[0]][0].format(owner)}{where}"
    return f"{deviation.task} {_what(deviation, _step(deviation, trace))}{where}"


def place_of(deviation: Deviation, trace: Trace) -> Site | None:
    """Where the task waits, is defined if it has not started, or where the code of the callback is."""
    step = _step(deviation, trace)
    told = step.told if step else None
    if ":" in deviation.task:
        lines = statements(told) if told else ()
        return lines[0].site if lines else None
    return _wait_before(deviation, trace) or (told.at[-1] if told and told.at else None)


def path_of(deviation: Deviation, trace: Trace) -> str:
    """Return the lines through which the task waits there, outermost first: ``path: 32 in job, 24 in lock``.

    Empty if it is the line of `place_of`, alone or with a helper that it calls and that does nothing but wait.
    """
    step = None if ":" in deviation.task else _waiting(deviation, trace)
    sites = step.told.until if step is not None and step.told is not None else ()
    all_places = [(site.file, site.line, site.function.rpartition(".<locals>.")[2]) for site in sites]
    places = dict.fromkeys(place for place in all_places if not place[2].endswith("comp>"))  # own functions up to 3.11
    named = place_of(deviation, trace)
    if named is None or len(places) < 2 or (len(places) == 2 and named == sites[0]):
        return ""
    lines = (
        f"{line if file == named.file else f'{shown_file(file)}:{line}'} in {function}"
        for file, line, function in places
    )
    return f"path: {', '.join(lines)}"


def _what(deviation: Deviation, step: Step | None) -> str:
    if isinstance(deviation, Cancel):
        if deviation.step == 0:
            return "is cancelled from outside before it starts"
        moment = "just when it would go on" if deviation.after is None else "while it waits"
        return f"is cancelled from outside {moment}"
    if isinstance(deviation, Raise):
        return f"gets {deviation.error} instead of an answer"
    if isinstance(deviation, Slow):
        return "gets its answer only after another timer has fired"
    if _is_between(deviation):
        return "gets a thread's answer between two steps"
    if deviation.step == 0:
        return _LATE["start"]
    return _LATE.get(step.kind if step else None, "gets its answer late")


def mark(deviation: Deviation) -> str:
    """What a deviation does to its task, in a few words."""
    if isinstance(deviation, Cancel):
        return "is cancelled from outside"
    if isinstance(deviation, Raise):
        return f"gets {deviation.error} from outside"
    if isinstance(deviation, Slow):
        return "the answer takes longer than another timer"
    if _is_between(deviation):
        return "the thread answers between two steps"
    if ":" in deviation.task:
        return _PARTS[deviation.task.rpartition(":")[2].partition("#")[0]][1]
    return "starts late" if deviation.step == 0 else "goes on late"


def _is_between(deviation: Deviation) -> bool:
    return isinstance(deviation, Late) and deviation.behind is not None


def _step(deviation: Deviation, trace: Trace) -> Step | None:
    key = canonical(deviation.task), deviation.step
    return next((step for step in trace.steps if (step.who, step.number) == key), None)


def _wait_before(deviation: Deviation, trace: Trace) -> Site | None:
    """Where a task waits before the step that a deviation is about; None if that is its first."""
    step = _waiting(deviation, trace)
    if step is None or step.told is None:
        return None
    # The line that says most is the one above the helpers that do nothing but wait.
    until = {(site.file, statement(site.file, site.line).line) for site in step.told.until}
    lines = [line.site for line in statements(step.told) if (line.site.file, line.site.line) in until]
    return lines[-1] if lines else step.told.until[-1]


def _waiting(deviation: Deviation, trace: Trace) -> Step | None:
    """Return the step after which the task waits for the one that a deviation is about; None if that is its first."""
    key = canonical(deviation.task), deviation.step - 1
    steps = (step for step in trace.steps if (step.who, step.number) == key and step.got != "call")
    return next((step for step in steps if step.told is not None and step.told.until), None)


def libraries_of(failure: Failure) -> list[str]:
    """The packages of others in which a task waits where something is different, or still waits at the end."""
    before = {(canonical(each.task), each.step - 1) for each in failure.schedule}
    steps = [step for step in failure.trace.steps if step.got != "call" and step.told is not None]
    last = {step.who: step for step in steps} if isinstance(failure.error, Deadlock | Livelock) else {}
    waits = [*(step for step in steps if (step.who, step.number) in before), *last.values()]
    packages = dict.fromkeys(package for step in waits if step.told for package in step.told.through)
    return [package for package in packages if package != "anyio" or len(packages) == 1]  # what others wait by


def conditions(schedule: Schedule, trace: Trace, arrivals: frozenset[str]) -> Iterator[str]:
    """What must be so in life for these deviations to happen, a paragraph for each kind of deviation.

    Args:
        schedule: the deviations.
        trace: of the run that had them.
        arrivals: the kinds that might have been late.
    """
    kinds = {step.kind for each in schedule if isinstance(each, Late) and (step := _step(each, trace))}
    if known := [kind for kind in _OUTSIDE if kind in kinds]:
        lines = "\n".join(f"    {kind!r:9}{_OUTSIDE[kind]}" for kind in known)
        others = ", ".join(repr(kind) for kind in KINDS if kind in arrivals and kind not in kinds)
        but = " and ".join(map(repr, known))
        instead = (
            f"\nIf in your program it does not, explore all but {but}:\n    @explore(arrivals=[{others}])"
            if others
            else ""
        )
        yield f"This can happen if what was late comes from outside in life:\n{lines}{instead}"
    for kind, paragraph in _FAULTS.items():
        if any(isinstance(each, kind) for each in schedule):
            yield paragraph


_FAULTS: dict[type, str] = {
    Cancel: (
        "This can happen if somebody can cancel that task: a time-out around it, a client that goes away, a shutdown.\n"
        "If in your program nobody can, name the tasks that somebody can cancel: @explore(cancel=[...])."
    ),
    Raise: "This can happen if what was awaited there can fail so. If not, leave the error out of raises=.",
    Slow: "This can happen if the answer can take that long. If not, leave out slow=.",
}
