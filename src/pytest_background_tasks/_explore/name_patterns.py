"""Task names that change with every run: ``pool-3-worker``, numbered by a process-wide counter, or a UUID.

The loop uses the constant part of such a name, ``pool-<n>-worker``; else a step of one run could not be found in the
next.
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


class NamePatterns:
    """A function that returns the part of a task's name that is the same in every run.

    >>> NamePatterns(["pool-<n>-worker"])("pool-3-worker")
    'pool-<n>-worker'
    """

    def __init__(self, forms: Iterable[str] = ()) -> None:
        self.patterns: frozenset[str] = frozenset(forms)
        self._known = [(re.compile(".+".join(map(re.escape, form.split(_BLANK)))), form) for form in self.patterns]

    def __call__(self, name: str) -> str:
        """Return the form of `name` if it has one, else `name`."""
        return next((form for known, form in self._known if known.fullmatch(name)), name)


def patterns_in(schedule: Schedule) -> Iterator[str]:
    """Return the forms that a schedule names: it was found with them."""
    return (part for each in schedule for part in _parts(each.task) if _BLANK in part)


def patterns_between(first: Trace, second: Trace) -> set[str]:
    """Return the forms of names that differ between two runs for a task that does the same in both."""
    names, others = ({part for step in trace.steps for part in _parts(step.task)} for trace in (first, second))
    forms: set[str] = set()
    for one, other in zip(first.steps, second.steps, strict=False):
        for part, counterpart in zip(_parts(one.task), _parts(other.task), strict=False):
            if part != counterpart and part not in others and counterpart not in names:
                forms.update(_form(part, counterpart))
    return forms


def _parts(name: str) -> list[str]:
    return [part.partition("#")[0] for part in re.split("[/:]", name)]


def _form(one: str, other: str) -> Iterator[str]:
    """Yield the common form of two names, if a word of it remains to recognize them by."""
    one, other = _UUID.sub(_BLANK, one), _UUID.sub(_BLANK, other)  # two UUIDs may begin with the same letters
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
