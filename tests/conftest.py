"""What several test modules share."""

import gc
import sys

import pytest

pytest_plugins = ["pytester"]


class Tidy:
    """A plugin for a generated project that keeps tasks in a set ``kept``: looks at them when its session ends.

    Else they come to light whenever the garbage collector comes by. If that is while Python 3.11 parses another project
    and asyncio logs them with their traceback, which parses too, the outer parsing fails (a bug of CPython's).
    """

    def pytest_sessionfinish(self) -> None:
        for name in ("sins", "test_it"):
            kept = getattr(sys.modules.get(name), "kept", set())
            for task in kept:
                if task.done() and not task.cancelled():
                    task.exception()
            kept.clear()
        gc.collect()


@pytest.fixture
def tidy() -> Tidy:
    return Tidy()
