"""What was different from asyncio's usual order, in sentences: what, where in the code, and whether that can happen."""

from __future__ import annotations

from collections.abc import Iterator

from ..explorer.schedule import Cancel, Deviation, Late, Raise, Schedule, Slow, canonical
from ..explorer.trace import KINDS, Step, Trace
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

_COMES_LATE = {"sleep": "its sleep ends late", "any": "it goes on late", None: "it goes on late"}
"""How the lateness of a kind of arrival is said; of others, an answer comes late."""


def sentence(deviation: Deviation, trace: Trace) -> str:
    """What a deviation means, with the line of code that it concerns."""
    task, step = deviation.task, _step(deviation, trace)
    if ":" in task:
        return (
            f"a timer that {task.rpartition(':')[0]} has set (a time-out, a call_later) fires late{_first_line(step)}"
        )
    wait = _wait_before(deviation, trace)
    if isinstance(deviation, Cancel):
        if not wait:
            return f"{task} is cancelled from outside before it starts"
        if deviation.after is None:
            return f"{task} {wait}; just when that is over, it is cancelled from outside"
        return f"{task} {wait}; before that is over, it is cancelled from outside"
    if isinstance(deviation, Raise):
        return f"{task} {wait or 'waits'}; that fails with {deviation.error}"
    if isinstance(deviation, Slow):
        return f"{task} {wait or 'waits'}; that takes so long that another timer fires first"
    if not wait:
        where = "".join(
            f", {each.shown_file}:{each.line}" for each in (step.told.at[-1:] if step and step.told else ())
        )
        return f"{task} starts late{where}"
    kind = step.kind if step else None
    return f"{task} {wait}; {_COMES_LATE.get(kind, 'the answer comes late')}"


def _first_line(step: Step | None) -> str:
    """Where the code is that a callback runs, if it is the user's."""
    lines = statements(step.told)[:1] if step and step.told else ()
    return "".join(f", {line.site.shown_file}:{line.site.line}, {line.text}" for line in lines)


def mark(deviation: Deviation) -> str:
    """What a deviation does to its task, in a few words."""
    if isinstance(deviation, Cancel):
        return "is cancelled from outside"
    if isinstance(deviation, Raise):
        return f"gets {deviation.error} from outside"
    if isinstance(deviation, Slow):
        return "the answer takes longer than another timer"
    if ":" in deviation.task:
        return "its timer fires late"
    return "starts late" if deviation.step == 0 else "goes on late"


def _step(deviation: Deviation, trace: Trace) -> Step | None:
    key = canonical(deviation.task), deviation.step
    return next((step for step in trace.steps if (step.who, step.number) == key), None)


def _wait_before(deviation: Deviation, trace: Trace) -> str:
    """Where a task waits before the step that a deviation is about; empty if that is its first."""
    key = canonical(deviation.task), deviation.step - 1
    for step in trace.steps:
        if (step.who, step.number) == key and step.got != "call" and step.told is not None and step.told.until:
            # The line that says most is the one above the helpers that do nothing but wait.
            site = statements(step.told)[-1].site if step.told.ran else step.told.until[-1]
            text = statement(site.file, site.line).text.partition("  #")[0]
            return f"waits at {site.shown_file}:{site.line}{f', {text}' if text else ''}"
    return ""


def conditions(schedule: Schedule, trace: Trace) -> Iterator[str]:
    """What must be so in life for these deviations to happen, a paragraph for each kind of deviation."""
    kinds = {step.kind for each in schedule if isinstance(each, Late) and (step := _step(each, trace))}
    if known := [kind for kind in _OUTSIDE if kind in kinds]:
        lines = "\n".join(f"    {kind!r:9}{_OUTSIDE[kind]}" for kind in known)
        others = ", ".join(repr(kind) for kind in KINDS if kind not in kinds)
        yield (
            f"This can happen if what was late stands for something from outside:\n{lines}\n"
            f"If it cannot in your program, leave it out:\n    @explore(arrivals=[{others}])"
        )
    for kind, paragraph in _FAULTS.items():
        if any(isinstance(each, kind) for each in schedule):
            yield paragraph


_FAULTS: dict[type, str] = {
    Cancel: (
        "This can happen if somebody can cancel that task: a time-out around it, a client that goes away, a shutdown.\n"
        "If nobody can in your program, cancel= of @explore names others."
    ),
    Raise: "This can happen if what was awaited there can fail so. If not, leave the error out of raises=.",
    Slow: "This can happen if the answer can take that long. If not, leave out slow=.",
}
