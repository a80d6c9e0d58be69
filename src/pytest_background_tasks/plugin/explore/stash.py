"""The values that the hooks of explored tests share: in the stash of an item, and on its function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any

import pytest

from ..._introspect.untrusted import attribute

if TYPE_CHECKING:
    from ..._explore.result import Exploration
    from .decorator import ExploredTest

EXPLORATION: pytest.StashKey[Exploration] = pytest.StashKey()
"""The failed exploration of an item, until it is reported."""

ON_FAILURE: pytest.StashKey[Callable[[BaseException], object]] = pytest.StashKey()
"""The debugger's function for an item that is called again after its failure."""


def explored_of(item: Any) -> ExploredTest | None:
    """Return the `ExploredTest` of a test with ``@explore``, else None."""
    return explored_in(item.obj) if issubclass(type(item), pytest.Function) else None


def explored_in(test: Any) -> ExploredTest | None:
    """Return the `ExploredTest` of a function, else None; `test` may be any attribute of a module or class."""
    decorator = sys.modules.get(f"{__package__}.decorator")
    if decorator is None:  # no module has imported it
        return None
    kind = type(test)
    is_method = kind is MethodType or kind is staticmethod or kind is classmethod
    found = attribute(test.__func__ if is_method else test, "_explored")
    return found if type(found) is decorator.ExploredTest else None
