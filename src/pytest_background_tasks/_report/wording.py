"""The sentences of a report: steps, deviations, and the conditions under which a deviation can happen."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .._explore.schedule import Cancel, Delay, Deviation, NetworkFault, Raise, Slow, event_of
from .._explore.trace import KINDS, Outcome
from .._introspect.location import shown_file
from .._introspect.text import plural
from .._network.network_event import NetworkEvent
from .model import NETWORK_EVENTS, DeviationView, StepKind, StepView

_EXTERNAL = {
    "start": "a task that the test starts: in production a request, a client, a job",
    "yield": "asyncio.sleep(0), which stands for I/O in a test",
    "sleep": "the end of a sleep, which is never punctual; in a fake, it stands for I/O of unknown duration",
    "timer": "a timeout or another timer, which is never punctual",
    "thread": "the result of a thread",
    "mock": "the result of an AsyncMock, which stands for a real call",
    "answer": "answer(), which stands for an external answer",
    "network": "what a network delivers: a connection, data, its end, or room for more",
    "any": "any step of a task, as arrivals='any' asks, with or without an external event",
}
"""The kinds of arrival, and the external events that they stand for."""

_LATE = {
    "start": "starts late",
    "yield": "resumes late after yielding",
    "sleep": "resumes late from its sleep",
    "any": "resumes late",
    None: "resumes late",
}
"""The sentence for a delayed arrival of each kind; the others are results, and these are received late."""

_LATE_EVENTS = {
    "timer": ("a timer that {} has set (a timeout, a call_later) fires late", "its timer fires late"),
    "thread": ("the result of a thread that {} has started arrives late", "its thread's result arrives late"),
    "call": ("a call_soon_threadsafe call of {} arrives late", "its call_soon_threadsafe call arrives late"),
}
"""Delayed events of a task that make none of its steps ready: as a sentence, and in a few words."""

_KINDS = {
    StepKind.START: "starts",
    StepKind.RESUME: "resumes",
    StepKind.CANCELLATION: "is cancelled",
    StepKind.ERROR: "receives {}",
    StepKind.SLEEP_ENDS: "sleep ends",
    StepKind.TIMER: "timer fires",
    StepKind.THREAD: "thread's result arrives",
    StepKind.CALL: "call_soon_threadsafe call arrives",
    StepKind.CALLBACK: "{} is called",
}

_NETWORK = {
    StepKind.RECEIVED: {
        "established": "connection to {at} is established",
        "refused": "connection to {at} is refused",
        "data": "connection receives {size}",
        "eof": "connection receives EOF",
        "reset": "connection is reset by {at}",
        "room": "connection has room for more",
    },
    StepKind.SENT: {
        "connection": "connection arrives at {at}",
        "data": "{size} arrive at {at}",
        "eof": "EOF arrives at {at}",
        "reset": "reset arrives at {at}",
        "room": "connection has room for more from {at}",
    },
    StepKind.DATAGRAMS: {
        "data": "socket receives a datagram of {size}",
        "refused": "datagram is refused",
        "eof": "socket is shut down",
        "room": "socket has room for more",
    },
    StepKind.FILE: {"ready": "file becomes ready"},
}
"""The events of the network, by their place: what a task's connection receives, or what arrives at its other side."""

_CONNECTION_FAULTS = {
    "refused": ("connection to {at} is refused",) * 2,
    "reset": (
        "connection to {at} is reset before it receives data",
        "connection is reset before its data arrives at {at}",
    ),
    "reset after": (
        "connection to {at} is reset after it has received {size} more",
        "connection is reset after {size} more have arrived at {at}",
    ),
    "eof": (
        "connection to {at} is closed before it receives data",
        "connection is closed before its data arrives at {at}",
    ),
    "eof after": (
        "connection to {at} is closed after it has received {size} more",
        "connection is closed after {size} more have arrived at {at}",
    ),
    "split after": (
        "connection to {at} receives only {size} at first",
        "data arrives at {at} in two parts, {size} first",
    ),
}
"""The faults of the network: at the connection of a task, and at its other side."""

_OUTCOMES = {"returned": "returns", "raised": "raises {}", "propagated": "propagates {}", "cancelled": "ends cancelled"}


def beginning(step: StepView) -> str:
    """Return the way in which a step begins, as it stands in the column of its task: ``its timer fires``."""
    return f"{'its ' if step.kind.is_event else ''}{_begins(step)}"


def _begins(step: StepView) -> str:
    kind = step.kind
    if kind in _NETWORK:
        return _arrives(step.network, kind)
    return _KINDS[kind].format(step.subject)


def _arrives(event: NetworkEvent | None, kind: StepKind, adverb: str = "") -> str:
    """Return what happens at a socket: ``connection receives 5 bytes: b'hello'``."""
    if event is None:  # it was not recorded
        return f"socket becomes ready{adverb}"
    size = plural(event.size, "byte")
    text = _NETWORK[kind].get(event.kind, "socket becomes ready").format(at=event.address or "its server", size=size)
    shown = event.beginning[:_SHOWN_BYTES]
    data = f": {shown!r}{'…' if len(shown) < event.size else ''}" if event.kind == "data" else ""
    return f"{text}{adverb}{data}"


_SHOWN_BYTES = 24


_CAUSES = {
    "connection": "requested by",
    "established": "requested by",
    "refused": "attempted by",
    "data": "sent by",
    "eof": "ended by",
    "reset": "caused by",
    "room": "made by",
}
"""The relation of an event of the network to the step that has caused it."""


def relation_to_cause(step: StepView) -> str:
    """Return the relation of a step to those that have caused it: ``sent by``; empty if none is known."""
    return _CAUSES.get(step.network.kind, "caused by") if step.network and step.caused_by else ""


def named_beginning(step: StepView, task: str) -> str:
    """Return the way in which a step begins, with the name of the task: ``buy's timer fires``."""
    if not step.task:
        return beginning(step)
    owner = f"{task}'s" if step.kind.is_event else task
    return f"{owner} {_begins(step)}"


def ending(outcome: Outcome | None) -> str:
    """Return the way in which a task has ended: ``raises KeyError``; empty if it has not."""
    return "" if outcome is None else _OUTCOMES[outcome.kind].format(outcome.error)


def delivery(step: StepView, deviations: Collection[DeviationView]) -> str:
    """Return the event or exception that arrives; empty if there is none, or if the marks of `deviations` name it."""
    is_said = any(each.is_of_event or isinstance(each.deviation, Cancel | Raise) for each in deviations)
    return "" if is_said or step.kind in (StepKind.START, StepKind.RESUME) else beginning(step)


def wait(step: StepView, *, is_last: bool) -> str:
    """Return the reason for which a task waits, if that is worth a row: it has no later step, or a lock is held."""
    reason = step.waiting_for
    if reason is None or not step.is_step:
        return ""
    is_worth_it = (is_last and reason.kind != "turn") or (reason.kind == "lock" and reason.tasks)
    return f"waits for {reason}" if is_worth_it else ""


_ASSUMED = {
    "start": "the tasks that it starts are independent in production",
    "yield": "its sleep(0) stands for I/O",
    "any": "any step may come late",
}
"""The kinds of arrival whose order asyncio itself guarantees, and the assumption that they are external events."""


def headline(views: Collection[DeviationView]) -> str:
    """Return the first sentence of a failure under deviations, with the assumptions on which it depends."""
    kinds = {view.arrival for view in views if isinstance(view.deviation, Delay)}
    assumed = " and ".join(text for kind, text in _ASSUMED.items() if kind in kinds)
    number = "one deviation" if len(views) == 1 else f"{len(views)} deviations"
    provided = f", provided that {assumed}" if assumed else ""
    return f"This test passes in asyncio's default order and fails with {number}{provided}:"


def sentence(view: DeviationView) -> str:
    """Return the effect of a deviation, with the line of code."""
    where = "" if view.site is None else f", at {shown_file(view.site.file)}:{view.site.line}"
    return f"{_effect(view)[0]}{where}"


def mark(view: DeviationView) -> str:
    """Return the effect of a deviation on its task in a few words."""
    return _effect(view)[1]


def _effect(view: DeviationView) -> tuple[str, str]:
    """Return the effect of a deviation as a sentence, and in a few words."""
    if view.is_of_event:
        return _effect_on_event(view)
    effect, words = _effect_on_step(view)
    return f"{view.deviation.task} {effect}", words


def _effect_on_event(view: DeviationView) -> tuple[str, str]:
    deviation = view.deviation
    owner, kind = event_of(deviation.task) or ("", "")
    if _is_between(deviation):
        return f"the result of a thread that {owner} has started arrives between two steps", _BETWEEN
    if isinstance(deviation, NetworkFault):
        words = _fault(deviation, view.network, is_sent=kind == "sent")
    elif kind in NETWORK_EVENTS:
        words = _arrives(view.network, NETWORK_EVENTS[kind], f" {_when(deviation)}")
    if kind in NETWORK_EVENTS:
        if view.sender and kind == "sent" and not words.startswith("connection"):
            return f"{view.sender}'s {words}, on {owner}'s connection", f"{view.sender}'s {words}"
        return f"{owner}'s {words}", f"its {words}"
    effect, words = _LATE_EVENTS[kind]
    return effect.format(owner), words


def _fault(deviation: NetworkFault, event: NetworkEvent | None, *, is_sent: bool) -> str:
    texts = _CONNECTION_FAULTS[f"{deviation.fault} after" if deviation.after else deviation.fault]
    at = (event and event.address) or "its server"
    return texts[is_sent].format(at=at, size=plural(deviation.after, "byte"))


def _when(deviation: Deviation) -> str:
    return _relative_to_timer(deviation) if isinstance(deviation, Slow) else "late"


def _effect_on_step(view: DeviationView) -> tuple[str, str]:
    deviation = view.deviation
    if isinstance(deviation, Cancel):
        when = ", just as it would resume" if deviation.after is None else " while it waits"
        return (
            f"is cancelled externally{' before it starts' if deviation.step == 0 else when}",
            "is cancelled externally",
        )
    if isinstance(deviation, Raise):
        return f"receives {deviation.error} instead of a result", f"receives {deviation.error}, injected"
    if isinstance(deviation, Slow):
        return _effect_of_slow(deviation)
    if _is_between(deviation):
        return "receives the result of a thread between two steps", _BETWEEN
    if deviation.step == 0:
        return _LATE["start"], _LATE["start"]
    return _LATE.get(view.arrival, "receives its result late"), _LATE[None]


def _effect_of_slow(deviation: Slow) -> tuple[str, str]:
    effect = f"receives its result {_relative_to_timer(deviation)}"
    if deviation.timer_after is None:
        return effect, "its result takes longer than another timer"
    return effect, f"another timer fires {_later(deviation.timer_after)}"


def _relative_to_timer(deviation: Slow) -> str:
    if deviation.timer_after is None:
        return "only after another timer has fired"
    return f"just before another timer fires, {_later(deviation.timer_after)}"


def _later(iterations: int) -> str:
    return f"{plural(iterations, 'iteration')} of the loop later" if iterations else "in the same iteration of the loop"


_BETWEEN = "the thread's result arrives between two steps"


def _is_between(deviation: Deviation) -> bool:
    return isinstance(deviation, Delay) and deviation.behind is not None


def path(view: DeviationView) -> str:
    """Return the lines through which the task is suspended, outermost first: ``path: 32 in job, 24 in lock``."""
    if view.site is None or not view.path:
        return ""
    places = (
        f"{site.line if site.file == view.site.file else f'{shown_file(site.file)}:{site.line}'} in {site.function}"
        for site in view.path
    )
    return f"path: {', '.join(places)}"


def conditions(views: Collection[DeviationView], arrivals: frozenset[str]) -> Iterator[str]:
    """Yield the conditions under which these deviations happen in production, a paragraph for each kind of deviation.

    Args:
        views: the deviations.
        arrivals: the kinds of arrival that could be delayed.
    """
    kinds = {view.arrival for view in views if isinstance(view.deviation, Delay)}
    if known := [kind for kind in _EXTERNAL if kind in kinds]:
        lines = "\n".join(f"    {kind!r:10}{_EXTERNAL[kind]}" for kind in known)
        rest = [kind for kind in KINDS if kind in arrivals and kind not in kinds]
        others = f"    arrivals={rest}\n    --explore-arrivals='{' '.join(rest)}'"
        excluded = " and ".join(map(repr, known))
        instead = f"\nIf it is not in your program, exclude {excluded} in one of two ways:\n{others}" if rest else ""
        yield f"This can happen if the delayed event is external in production:\n{lines}{instead}"
    for kind, paragraph in _FAULTS.items():
        if any(isinstance(view.deviation, kind) for view in views):
            yield paragraph


_FAULTS: dict[type, str] = {
    Cancel: (
        "This can happen if that task can be cancelled: by a timeout around it, a disconnecting client, a shutdown.\n"
        "If it cannot in your program, remove 'cancel' from faults=, or name the tasks that can: 'cancel:client*'."
    ),
    Raise: "This can happen if the awaited operation can fail so. If it cannot, remove the error from faults=.",
    Slow: (
        "This can happen if the result can take that long. If it cannot, remove 'slow' from faults=.\n"
        "Results of threads, and answer(), may be slow without it. If they cannot, exclude them with arrivals=."
    ),
    NetworkFault: (
        "This can happen on a network: a server restarts, a proxy closes a connection, data arrives in several parts.\n"
        "If it cannot in your program, remove the fault from faults=."
    ),
}
