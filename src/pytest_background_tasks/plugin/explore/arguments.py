"""The arguments of ``@explore`` and of the mark ``explore``, and their check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..._explore.options import Arguments, Options, check_names
from ..._explore.several import several


class ExploreArguments(Arguments, total=False):
    """The keyword arguments of ``@explore``."""

    exclude_fixtures: Sequence[str]


def check(arguments: Mapping[str, Any], *unnamed: object) -> None:
    """Raise the error for a wrong argument of ``@explore``, when the test is defined and not when it runs."""
    for value in unnamed:
        raise TypeError(f"the argument {value!r} has no name; write e.g. explore(max_deviations=2)")
    check_names(arguments, list(ExploreArguments.__annotations__))
    _check_fixture_names(arguments.get("exclude_fixtures", ()))
    Options.of({name: value for name, value in arguments.items() if name != "exclude_fixtures"})


def _check_fixture_names(without: Any) -> None:
    for name in several(without):
        if not isinstance(name, str):
            example = "write e.g. exclude_fixtures=['clean_db']"
            raise TypeError(f"exclude_fixtures={without!r}: {name!r} is not the name of a fixture; {example}")
