"""Real network libraries, their servers and clients in one event loop, work as they do over a real network."""

import asyncio
import gc
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import anyio  # noqa: F401  # before the first run, as with anyio's plugin
import pytest

from pytest_background_tasks import Delay, Explorer, Schedule, Trace
from pytest_background_tasks._explore.determinism import DeterministicProcess
from pytest_background_tasks._explore.execution import execute, playing
from pytest_background_tasks._explore.helper_thread import HelperThread
from pytest_background_tasks._explore.options import Options
from pytest_background_tasks._explore.schedule import canonical


def _programs() -> Iterator[Any]:
    """Each program and what it returns."""
    spec = spec_from_file_location("stacks", Path(__file__).with_name("stacks.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    for program, value in module.PROGRAMS.items():
        yield pytest.param(program, value, id=program.__name__)


RUNS, SCHEDULES = (100, 40) if sys.version_info < (3, 12) else (15, 12)
"""One version with many runs is enough: they take a minute."""

with_each_program = pytest.mark.parametrize(("program", "value"), list(_programs()))


@with_each_program
def test_over_the_real_loopback(program: Any, value: Any) -> None:
    """A program returns what it promises on an ordinary loop too, and leaves nothing open."""

    async def main() -> None:
        selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        before = set(selector.get_map())
        async with asyncio.timeout(60):
            assert await program() == value
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert set(selector.get_map()) == before, "a socket is left open"

    asyncio.run(main())
    gc.collect()  # else a warning of what was left comes up in another test


@with_each_program
def test_program_is_explored(program: Any, value: Any) -> None:
    """A program returns what it promises in every order that is tried, and there is more than one."""

    async def scenario() -> None:
        assert await program() == value

    exploration = Explorer(arrivals="network", max_schedules=SCHEDULES, max_deviations=1).explore(scenario)
    assert exploration.failure is None, exploration.failure
    assert exploration.distinct > 1


@with_each_program
def test_program_reads_what_arrives_in_parts(program: Any, value: Any) -> None:
    """A program returns what it promises although what arrives somewhere arrives in two parts."""

    async def scenario() -> None:
        assert await program() == value

    options: Any = {"arrivals": "network", "faults": "split", "max_deviations": 1}
    exploration = Explorer(**options, max_schedules=SCHEDULES).explore(scenario)
    assert exploration.failure is None, exploration.failure
    assert exploration.injected == ("split reads",)


@with_each_program
def test_runs_of_one_schedule_are_equal(program: Any, value: Any) -> None:
    """The same steps run in the same order; each arrival has its own name in a schedule; no descriptor is left."""
    options = Options.of({"arrivals": "network"})
    with HelperThread() as helper, DeterministicProcess(may_raise=False) as process:

        def run() -> Trace:
            process.refresh()
            done = execute(playing(program), Schedule(), options, helper)
            assert done.error is None
            return done.trace

        run()  # fills caches of libraries
        arrivals = [step for _, step in run().arrivals()]
        assert len({(step.task, step.number) for step in arrivals}) == len(arrivals)
        for step in arrivals:
            assert Schedule.parse(str(Delay(step.task, step.number))) == {Delay(canonical(step.task), step.number)}
        first = run()
        gc.collect()
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        assert [index for index in range(RUNS - 3) if run().signature != first.signature] == []
        gc.collect()
        assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


@with_each_program
def test_recorded_run_has_the_cause_of_each_event(program: Any, value: Any) -> None:
    """It takes the same steps as one that is not recorded, and an earlier one has caused what arrives."""
    options = Options.of({"arrivals": "network"})
    with HelperThread() as helper, DeterministicProcess(may_raise=False) as process:

        def run(with_details: bool) -> Trace:
            process.refresh()
            return execute(playing(program), Schedule(), options, helper, with_details=with_details).trace

        run(False)  # fills caches of libraries
        recorded = run(True)
        assert recorded.signature == run(False).signature
    events = [(index, step.detail) for index, step in enumerate(recorded.steps) if step.detail and step.detail.network]
    assert events
    assert [detail.network for index, detail in events if not detail.caused_by or max(detail.caused_by) >= index] == []
