"""What a reader sees of each classic bug, and of each way in which a run can differ or fail.

The texts lie in snapshots/. After a change that is meant, write them anew and read them:
``WRITE_SNAPSHOTS=1 pytest tests/report/test_snapshots.py``.
"""

import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from pytest_background_tasks import Explorer
from pytest_background_tasks._introspect.project_code import ProjectCode
from pytest_background_tasks._report.layout import plain
from pytest_background_tasks._report.terminal import section

ROOT = Path(__file__).parents[2]
SNAPSHOTS = Path(__file__).parent / "snapshots"


def load_module(path: str) -> Any:
    """A module of programs as Python runs it, without pytest's rewriting of its assertions."""
    spec = spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # where dataclasses look for it
        spec.loader.exec_module(module)
    return module


def _cases() -> Iterator[Any]:
    for name, classic in load_module("tests/quality/test_classics.py").CLASSICS.items():
        file = name.replace(" ", "_").replace(",", "")
        yield pytest.param(lambda classic=classic: classic.program(False), dict(classic.options), file, id=file)
    for program, options in load_module("tests/report/programs.py").PROGRAMS.items():
        yield pytest.param(program, options, program.__name__, id=program.__name__)


CASES = list(_cases())


@pytest.mark.parametrize(("scenario", "options", "name"), CASES)
def test_report_equals_its_snapshot(
    monkeypatch: pytest.MonkeyPatch,
    scenario: Callable[[], Coroutine[Any, Any, None]],
    options: dict[str, Any],
    name: str,
) -> None:
    monkeypatch.chdir(ROOT)
    exploration = Explorer(**options, is_project_file=ProjectCode(ROOT)).explore(scenario)
    assert exploration.failure is not None
    shown = f"{exploration.failure.error!r}\n\n" + "\n\n".join(
        f"{width:-^{width}}\n{plain(section(exploration, 'pytest ...', width))}"
        for width in ((80, 120) if name in ("twenty", "5_dining_philosophers") else (80,))
    )
    file = SNAPSHOTS / f"{name}.txt"
    if "WRITE_SNAPSHOTS" in os.environ:
        file.write_text(shown + "\n", encoding="utf-8")
    assert shown + "\n" == file.read_text(encoding="utf-8")


def test_no_snapshot_is_unused() -> None:
    assert {path.stem for path in SNAPSHOTS.iterdir()} == {case.id for case in CASES}
