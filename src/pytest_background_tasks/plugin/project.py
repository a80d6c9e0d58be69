"""Objects that all tests of a pytest session share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .._introspect.project_code import OwnCode

_own_code: pytest.StashKey[OwnCode] = pytest.StashKey()


def own_code(config: pytest.Config) -> OwnCode:
    """Return the session's project code, which is created at the first call."""
    from .._introspect.project_code import OwnCode

    if _own_code not in config.stash:
        config.stash[_own_code] = OwnCode(config.rootpath, config.getini("background_tasks_project_packages"))
    return config.stash[_own_code]
