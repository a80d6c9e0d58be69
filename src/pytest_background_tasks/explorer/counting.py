"""Names of tasks that hold what is new in every run: a counter of the process, ``pool-3-worker``, or a UUID.

Of these the loop knows only the rest, ``pool-<n>-worker``, or no step of one run could be found in the next.
"""

import re
from collections.abc import Iterable, Iterator

from .schedule import Schedule
from .trace import Trace

_BLANK = "<n>"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_NUMBERED = re.compile(r"([^\W\d_]*)\d+")
_BLANKS = re.compile(rf"{_BLANK}(?:[\W_]+{_BLANK})+")


class Counting:
    """Gives the part of a task's name that is the same in every run.

    >>> Counting(["pool-<n>-worker"])("pool-3-worker")
    'pool-<n>-worker'
    """

    def __init__(self, forms: Iterable[str] = ()) -> None:
        self.forms: frozenset[str] = frozenset(forms)
        self._known = [(re.compile(".+".join(map(re.escape, form.split(_BLANK)))), form) for form in self.forms]

    def __call__(self, name: str) -> str:
        """The form of `name` if it has one, else `name`."""
        return next((form for known, form in self._known if known.fullmatch(name)), name)


def counting_in(schedule: Schedule) -> Iterator[str]:
    """The forms that a schedule names: it was found with them."""
    return (part for each in schedule for part in _parts(each.task) if _BLANK in part)


def counting_between(first: Trace, second: Trace) -> set[str]:
    """The forms of the names that only one of two runs has, where in the other somebody else does the same."""
    names, others = ({part for step in trace.steps for part in _parts(step.who)} for trace in (first, second))
    forms: set[str] = set()
    for one, other in zip(first.steps, second.steps, strict=False):
        for part, counterpart in zip(_parts(one.who), _parts(other.who), strict=False):
            if part != counterpart and part not in others and counterpart not in names:
                forms.update(_form(part, counterpart))
    return forms


def _parts(name: str) -> list[str]:
    return [part.partition("#")[0] for part in re.split("[/:]", name)]


def _form(one: str, other: str) -> Iterator[str]:
    """What two names have in common, if that is anything to know them by."""
    one, other = _UUID.sub(_BLANK, one), _UUID.sub(_BLANK, other)  # parts of two may begin with the same letters
    if _WORD.sub("", one) != _WORD.sub("", other):
        return
    words = iter(_WORD.findall(other))
    form = _BLANKS.sub(_BLANK, _WORD.sub(lambda word: _word(word[0], next(words)), one))
    if _WORD.search(form.replace(_BLANK, "")):
        yield form


def _word(one: str, other: str) -> str:
    if one == other:
        return one
    numbered, counterpart = _NUMBERED.fullmatch(one), _NUMBERED.fullmatch(other)
    if numbered and counterpart and numbered[1] == counterpart[1]:
        return f"{numbered[1]}{_BLANK}"
    return _BLANK
