"""Objects that all tests of a pytest session share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .._introspect.project_code import ProjectCode

_own_code: pytest.StashKey[ProjectCode] = pytest.StashKey()


def project_code(config: pytest.Config) -> ProjectCode:
    """Return the session's project code, which is created at the first call."""
    from .._introspect.project_code import ProjectCode

    if _own_code not in config.stash:
        config.stash[_own_code] = ProjectCode(config.rootpath, config.getini("background_tasks_project_packages"))
    return config.stash[_own_code]
