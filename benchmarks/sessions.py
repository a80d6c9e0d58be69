"""The cost of a pytest session in a separate process. Shared by `startup.py` and `watch.py`.

Other work on the machine changes elapsed time by more than the few per cent to be measured. The CPU time of the process
is measured instead, in adjacent pairs, and reported as the median of the pairs with its 95 % confidence interval. Where
valgrind is installed, instructions are counted as well; they hardly depend on the machine.
"""

import math
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONHASHSEED": "0"}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)  # so that only the first session compiles the plugin
COMMAND = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
NO_TESTS_COLLECTED = 5

# To load a plugin by name, pytest reads the metadata of all installed packages once more. The side without our plugin
# therefore loads an empty one by name.
NOTHING = "nothing"


def prepare(folder: Path) -> None:
    """Create the empty plugin."""
    (folder / f"{NOTHING}.py").touch()


def run(options: Sequence[str], folder: Path, command: Sequence[str] = COMMAND) -> subprocess.CompletedProcess[str]:
    """Run pytest in `folder`; all tests must pass."""
    done = subprocess.run(
        [*command, *options], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, NO_TESTS_COLLECTED}, done.stdout + done.stderr
    return done


def cpu_milliseconds(options: Sequence[str], folder: Path) -> float:
    """Return the CPU time of a session."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(options, folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def instructions(options: Sequence[str], folder: Path) -> int:
    """Return the number of instructions that a session executes."""
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    output = run(options, folder, [*valgrind, *COMMAND]).stderr
    return int(re.search(r"I\s+refs:\s+([\d,]+)", output)[1].replace(",", ""))


CAN_COUNT_INSTRUCTIONS = shutil.which("valgrind") is not None


class Middle(NamedTuple):
    """A median with its 95 % confidence interval, for any distribution."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Middle":
        ordered = sorted(numbers)
        place = max(0, math.floor((len(ordered) - 1.96 * math.sqrt(len(ordered))) / 2))
        return cls(statistics.median(ordered), ordered[place], ordered[-1 - place])

    def verdict(self, goal: float) -> str:
        if self.low <= goal < self.high:
            return f"{'met' if self.value <= goal else 'NOT MET'}, but the interval includes the goal"
        return "met" if self.high <= goal else "NOT MET"


def in_pairs(sides: Sequence[Callable[[], float]], number: int) -> list[list[float]]:
    """Measure all sides `number` times, in adjacent pairs, starting with another side each time."""
    for measure in sides:
        measure()  # the first session compiles
    columns: list[list[float]] = [[] for _ in sides]
    for turn in range(number):
        for place in range(len(sides)):
            index = (place + turn) % len(sides)
            columns[index].append(sides[index]())
    return columns
