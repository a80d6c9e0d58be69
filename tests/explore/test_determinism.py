"""State of the process that would make runs differ is fixed, and restored afterwards."""

import asyncio
import traceback
import uuid
import warnings
from typing import Any
from unittest.mock import AsyncMock, create_autospec

import pytest

from pytest_background_tasks import Explorer
from pytest_background_tasks._explore.determinism import DeterministicProcess

RunSchedule = Any  # the fixture


def test_event_loop_policy_is_ignored() -> None:
    """So if uvloop is the policy, an explored test still runs in the order of asyncio's loops."""
    uvloop = pytest.importorskip("uvloop")
    loops = []

    async def scenario() -> None:
        loops.append(asyncio.get_running_loop())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # since 3.14
        before = asyncio.get_event_loop_policy()
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        try:
            assert Explorer().explore(scenario).verdict == "exhaustive"
        finally:
            asyncio.set_event_loop_policy(before)
    assert loops
    assert not any(isinstance(loop, uvloop.Loop) for loop in loops)


def test_unpredictable_numbers_are_allowed_if_the_order_is_unaffected() -> None:
    async def scenario() -> None:
        names = {uuid.uuid4() for _ in range(3)}
        await asyncio.gather(*[asyncio.sleep(0) for _ in names])

    assert Explorer().explore(scenario).failure is None


def test_an_awaited_mock_suspends_for_a_step(run_schedule: RunSchedule, order: Any) -> None:
    async def fetch(key: str) -> int:
        raise AssertionError

    store = create_autospec(fetch, return_value=7)

    async def scenario() -> None:
        mock = AsyncMock(side_effect=[1, LookupError])
        assert await mock() == 1
        with pytest.raises(LookupError):
            await mock()
        assert await store("key") == 7

    run = run_schedule(scenario)
    assert run.error is None
    assert [step.kind for step in run.trace.steps if step.task == "main"] == [None, "mock", "mock", "mock"]
    assert order(run_schedule(scenario, "main@1+1").trace) == order(run.trace)


def test_error_of_a_bare_yield_points_at_asyncios_line() -> None:
    """The frame names asyncio's file, so its line must be the one that suspends there."""

    async def scenario() -> None:
        await asyncio.sleep(0)

    failure = Explorer(faults=OSError).explore(scenario).failure
    assert failure is not None
    frame = traceback.extract_tb(failure.error.__traceback__)[-1]
    assert (frame.name, frame.line) == ("__sleep0", "yield")


def test_mocks_are_unchanged_outside_an_exploration() -> None:
    mock = AsyncMock(return_value=7)
    coroutine = mock()
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value == 7
    with DeterministicProcess(may_raise=True):
        coroutine = mock()

        async def awaits() -> int:
            return await mock()  # type: ignore[no-any-return]

        assert asyncio.run(awaits()) == 7
        coroutine.close()


def test_patches_are_removed_after_the_exploration() -> None:
    names = ("set", "__sleep0")
    mixin: Any = AsyncMock.__mro__[1]
    before = [vars(asyncio.tasks).get(name) for name in names], vars(mixin).get("_execute_mock_call")

    async def scenario() -> None:
        await asyncio.sleep(0)

    Explorer().explore(scenario)
    assert ([vars(asyncio.tasks).get(name) for name in names], vars(mixin).get("_execute_mock_call")) == before
    assert "set" not in vars(asyncio.tasks)
