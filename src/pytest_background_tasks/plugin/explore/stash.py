"""The values that the hooks of explored tests share, in the stash of an item."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..._explore.result import Exploration
    from ..._explore.run import Run

EXPLORATION: pytest.StashKey[Exploration] = pytest.StashKey()
"""The failed exploration of an item, until it is reported."""

ON_FAILURE: pytest.StashKey[Callable[[BaseException], object]] = pytest.StashKey()
"""The debugger's function for an item that is called again after its failure."""

RUN: pytest.StashKey[Run] = pytest.StashKey()
"""The run that is in progress."""

CHOSEN: pytest.StashKey[dict[str, Any]] = pytest.StashKey()
"""The values of fixtures that choose another event loop than that of the run, by name."""

TIMEOUT: pytest.StashKey[Any] = pytest.StashKey()
"""The settings of pytest-timeout for an item; absent if it has no limit."""
