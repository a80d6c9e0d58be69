"""The cheap event loop has everything that asyncio's own loop has."""

import asyncio
import runpy
from typing import Any

import pytest

from pytest_background_tasks import Schedule
from pytest_background_tasks._explore import fast_loop
from pytest_background_tasks._explore.controlled_loop import ControlledLoop
from pytest_background_tasks._explore.fast_loop import FastLoop
from pytest_background_tasks._explore.helper_thread import HelperThread
from pytest_background_tasks._explore.options import Options


def is_value(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float))


def test_loop_has_the_same_attributes_as_asyncios_loop() -> None:
    theirs, ours = asyncio.BaseEventLoop(), FastLoop()
    for name, value in vars(theirs).items():
        assert type(getattr(ours, name)) is type(value), name
        assert getattr(ours, name) == value or not is_value(value), name
    theirs.close()
    ours.close()


def test_two_loops_share_no_mutable_state() -> None:
    one, other = FastLoop(), FastLoop()
    kept = [name for name in dir(one) if name.startswith("_") and not name.startswith("__")]
    changing = [name for name in kept if hasattr(getattr(one, name), "clear")]
    assert "_ready" in changing
    assert not [name for name in changing if getattr(one, name) is getattr(other, name)]
    one.close()
    other.close()


def test_base_loops_with_unknown_attributes_are_initialized_by_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    make = asyncio.BaseEventLoop.__init__

    def make_with_more(self: Any) -> None:
        make(self)
        self.limits = {"tasks": 10}

    monkeypatch.setattr(asyncio.BaseEventLoop, "__init__", make_with_more)
    loop_class = runpy.run_path(fast_loop.__file__, run_name=fast_loop.__name__)["FastLoop"]
    one, other = loop_class(), loop_class()
    assert one.limits == other.limits
    assert one.limits is not other.limits
    assert one._ready is not other._ready
    one.close()
    other.close()


def test_controlled_loop_attributes_fit_into_cpythons_inline_values() -> None:
    loop: Any = ControlledLoop(Schedule.parse("main@1+1"), Options(), HelperThread())
    loop.play(asyncio.sleep(0))
    attributes = len(vars(loop))
    loop.close()
    assert attributes < 30  # closing adds an attribute
