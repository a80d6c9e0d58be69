"""Test ids relative to the directory in which pytest was started.

``config.cwd_relative_nodeid`` would do, but from pytest 9.2 on it expects another type of id.
"""

import os

import pytest


def relative(config: pytest.Config, nodeid: str) -> str:
    """Return `nodeid` with its path relative to the directory in which pytest was started, instead of the rootdir."""
    path, *names = nodeid.split("::")
    if config.invocation_params.dir == config.rootpath:
        return nodeid
    return "::".join([os.path.relpath(config.rootpath / path, config.invocation_params.dir), *names])
