"""The modes in which findings are reported: from the ini options, the command line and the test's marks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .._capture.targets import Match, matcher
from .kinds import KINDS


class Policy(NamedTuple):
    """The mode of each kind: ``ignore``, ``warn`` or ``error``; ``gc`` warns, and forces garbage collection.

    ``deadlock`` is an error in tests that use a fixture of this plugin (``fixture``), or in every test (``error``).
    ``allow`` matches the tasks that may leak.
    """

    unhandled: str
    leaked: str
    destroyed: str
    deadlock: str
    allow: tuple[Match, ...]


def policy_of(defaults: Policy, marks: Iterable[tuple[Sequence[Any], Mapping[str, Any]]]) -> Policy:
    """Return the modes of one test.

    Args:
        defaults: the modes of the session.
        marks: the arguments of each ``@pytest.mark.background_tasks`` on it, nearest first. The nearest mark that names
            a kind decides; a task that any mark allows is allowed.

    Raises:
        ValueError: if a mark is wrong; the message says what to write.
    """
    chosen: dict[str, str] = {}
    allow: list[Match] = []
    for args, kwargs in marks:
        if args:
            raise ValueError(_wrong(args[0]))
        for name, value in kwargs.items():
            if name == "allow":
                allow += _matches(value)
            elif name in KINDS and value in KINDS[name].modes:
                chosen.setdefault(name, value)
            else:
                raise ValueError(_wrong(value, name))
    return defaults._replace(**chosen, allow=(*defaults.allow, *allow))


def _matches(targets: Any) -> list[Match]:
    if isinstance(targets, str) or not isinstance(targets, Sequence):
        targets = [targets]
    try:
        return [matcher(target, "@pytest.mark.background_tasks(allow=[{}])") for target in targets]
    except TypeError as error:
        raise ValueError(str(error)) from None


def _wrong(value: object, name: str = "") -> str:
    written = f"{name}={value!r}" if name else repr(value)
    if name in KINDS:
        right = f"{name} must be one of {', '.join(map(repr, KINDS[name].modes))}"
    else:
        right = f"the arguments are {', '.join(KINDS)} and allow, by keyword"
    return (
        f"@pytest.mark.background_tasks({written}): {right}; write e.g. "
        f'@pytest.mark.background_tasks(leaked="error", allow=["heartbeat*"])'
    )
