"""What a session of pytest has once, for all its tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .own import OwnCode

_own_code: pytest.StashKey[OwnCode] = pytest.StashKey()


def own_code(config: pytest.Config) -> OwnCode:
    """Which code is the project's own; found out once for a session."""
    from .own import OwnCode

    if _own_code not in config.stash:
        config.stash[_own_code] = OwnCode(config.rootpath, config.getini("background_tasks_packages"))
    return config.stash[_own_code]
