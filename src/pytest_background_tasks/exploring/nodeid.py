"""A test's id as one types it where pytest was started.

``config.cwd_relative_nodeid`` would do, but from pytest 9.2 on it takes another kind of id.
"""

import os

import pytest


def relative(config: pytest.Config, nodeid: str) -> str:
    """`nodeid`, which begins at the rootdir, from the folder in which pytest was started."""
    path, *names = nodeid.split("::")
    if config.invocation_params.dir == config.rootpath:
        return nodeid
    return "::".join([os.path.relpath(config.rootpath / path, config.invocation_params.dir), *names])
