"""A failure in sentences: what was different from asyncio's usual order, where in the code, and how to see it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..explorer.exploration import Exploration, Failure
from ..explorer.schedule import Cancel, Deviation, Late, Raise, canonical
from ..explorer.trace import KINDS, Step, Trace, first_difference

_OUTSIDE = {
    "start": "a task that the test starts; in life it is a request, a client or a job of its own",
    "yield": "asyncio.sleep(0); in a test it stands for I/O",
    "sleep": "the end of a sleep, which is never punctual",
    "timer": "a time-out or another timer, which is never punctual",
    "thread": "the answer of a thread",
    "mock": "the answer of an AsyncMock, which stands for a real call",
    "any": "a step of a task; arrivals='any' lets each of them be late, not only what comes from outside",
}
"""What a kind of arrival is in life."""


def failure_text(exploration: Exploration, replay: str) -> str:
    """What is shown below the assertion.

    Args:
        exploration: a failed one.
        replay: what to type to see the failure again.
    """
    failure = exploration.failure
    assert failure is not None
    paragraphs = [
        *(_deviating(failure) if failure.schedule else [_USUAL]),
        f"{_found(failure)}; verdict: failed.",
        f"replay:  {replay}",
    ]
    return "\n\n".join(paragraphs)


def _found(failure: Failure) -> str:
    if failure.found == "replay":
        return "This was a replay of one schedule"
    if not failure.schedule:
        return f"Found in run {failure.run}"
    how = "Found" if failure.found == "search" else "This schedule failed last time and was tried first.\nFound"
    return f"{how} in run {failure.run}, made as small as possible, and played again to be sure"


_USUAL = """\
This test fails in asyncio's usual order: nothing had to come late, and other orders were not tried."""


def _deviating(failure: Failure) -> list[str]:
    sentences = [sentence(deviation, failure.trace) for deviation in failure.schedule.in_order()]
    number = "this is different" if len(sentences) == 1 else "all of this is different"
    paragraphs = [
        f"This test passes in asyncio's usual order. It fails when {number}:\n" + "\n".join(map(_item, sentences)),
        _parting(failure),
        _kinds(failure),
    ]
    return [paragraph for paragraph in paragraphs if paragraph]


def _item(sentence: str) -> str:
    return f"  * {sentence}"


def sentence(deviation: Deviation, trace: Trace) -> str:
    """What a deviation means, with the line of code that it concerns."""
    who, wait = canonical(deviation.task), _wait_before(deviation, trace)
    step = next((step for step in trace.steps if step.who == who and step.number == deviation.step), None)
    if isinstance(deviation, Cancel):
        moment = "just when that arrives" if deviation.after is None else "from outside"
        return f"{deviation.task} {wait or 'is about to start'}, and is cancelled {moment}"
    if isinstance(deviation, Raise):
        return f"{deviation.task} {wait}; that fails with {deviation.error}"
    if not isinstance(deviation, Late):
        return f"{deviation.task} {wait}; that takes longer than the next timer"
    late = f"{deviation.by} {'place' if deviation.by == 1 else 'places'} later than usual"
    if ":" in deviation.task:
        return f"a timer that {deviation.task.partition(':')[0]} has set (a time-out, a call_later) fires {late}"
    if not wait:
        site = f" ({step.told.at[-1]})" if step and step.told and step.told.at else ""
        return f"{deviation.task} starts {late}{site}"
    return f"{deviation.task} {wait}; {_ARRIVES.get((step and step.kind) or '', 'it goes on')} {late}"


_ARRIVES: dict[str | None, str] = {
    "sleep": "it ends",
    "thread": "the answer comes",
    "mock": "the answer comes",
    "yield": "the answer that this stands for comes",
}


def _arrives(step: Step | None) -> str:
    return _ARRIVES.get(step.kind if step else None, "it goes on")


def _wait_before(deviation: Deviation, trace: Trace) -> str:
    """Where and for what a task waits before the step that a deviation is about; empty if that is its first."""
    who = canonical(deviation.task)
    for step in trace.steps:
        if step.who == who and step.number == deviation.step - 1 and step.told is not None and step.told.until:
            what = "asyncio.sleep(0)" if step.told.waits_for == "its next turn" else step.told.waits_for
            return f"waits for {what} at {step.told.until[-1]}"
    return ""


def _parting(failure: Failure) -> str:
    """The first step at which the orders part."""
    usual, here = failure.asyncio_trace, failure.trace
    index = first_difference(usual, here)
    if index is None:
        return ""
    return (
        f"The orders part at step {index + 1}:\n    usually  {_step(usual, index)}\n    here     {_step(here, index)}"
    )


def _step(trace: Trace, index: int) -> str:
    if index >= len(trace.steps):
        return "nothing more happens"
    step: Step = trace.steps[index]
    name = trace.shown(step.who)
    if step.got == "call":
        return f"{name} is called"
    site = step.told.at[-1] if step.told and step.told.at else None
    verb = "starts" if step.number == 0 else _GOT.get(step.got, f"gets {step.got}")
    return f"{name} {verb}{f' at {site}' if site else ''}"


_GOT = {"value": "goes on", "cancelled": "is cancelled"}


def _kinds(failure: Failure) -> str:
    kinds: Sequence[Any] = [kind for kind in _OUTSIDE if kind in failure.kinds]
    if not kinds:
        return ""
    lines = "\n".join(f"    {kind!r:8} {_OUTSIDE[kind]}" for kind in kinds)
    others = ", ".join(repr(kind) for kind in KINDS if kind in failure.arrivals and kind not in kinds)
    return (
        f"This can happen if what was late (or failed) stands for something from outside:\n{lines}\n"
        f"If it cannot in your program:  @explore(arrivals=[{others}])"
    )
