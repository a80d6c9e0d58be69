"""What the installed plugin adds to a session that does not use it: `python benchmarks/startup.py`.

Other plugins import asyncio for themselves and would hide what ours costs, so pytest loads none but ours.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import repeat

REPETITIONS = 60
GOAL_MILLISECONDS = 5.0
WITH = ["-p", "pytest_background_tasks.plugin"]
# To load a plugin by name pytest reads the metadata of all that is installed, which it otherwise does once for all
# plugins. So the other side loads one too, a module of Python that is there already.
WITHOUT = ["-p", "no:background_tasks", "-p", "atexit"]
ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling the plugin is what only the first session does
NO_TESTS_COLLECTED = 5

LOADED = """
import sys, pytest
pytest.main(sys.argv[1:])
print(*sys.modules)
"""


def milliseconds(options: list[str], folder: str) -> float:
    """How long pytest takes in an empty folder, as a process of its own."""
    command = [sys.executable, "-m", "pytest", "--co", "-q", "-p", "no:cacheprovider", *options]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == NO_TESTS_COLLECTED
    return (time.perf_counter() - start) * 1000


def modules(options: list[str], folder: str) -> set[str]:
    """What is loaded at the end of such a session."""
    command = [sys.executable, "-c", LOADED, "--co", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def quartiles(numbers: list[float]) -> str:
    low, middle, high = statistics.quantiles(numbers, n=4)
    return f"{middle:6.1f} ms  ({low:.1f} to {high:.1f})"


def main() -> None:
    print(f"Start of pytest, on {platform.python_implementation()} {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        # From Python 3.14 on pytest itself loads asyncio, through pdb; so what counts is the difference.
        added = modules(WITH, folder) - modules(WITHOUT, folder)
        assert added == {"pytest_background_tasks", "pytest_background_tasks.plugin"}, added
        milliseconds(WITH, folder)  # the first session
        pairs = [(milliseconds(WITHOUT, folder), milliseconds(WITH, folder)) for _ in repeat(None, REPETITIONS)]
    without, with_plugin = zip(*pairs, strict=True)
    more = [loaded - plain for plain, loaded in pairs]  # of neighbours: the machine is never quiet for long
    middle = statistics.median(more)
    verdict = "met" if middle <= GOAL_MILLISECONDS else "NOT MET"
    print(f"\n  pytest --co in an empty folder, median (and quartiles) of {REPETITIONS}")
    print(f"    without the plugin:                 {quartiles(without)}")
    print(f"    with it, unused:                    {quartiles(with_plugin)}")
    print(f"    more:                               {quartiles(more)}")
    ratio = 1 + middle / statistics.median(without)
    print(f"    ratio {ratio:.3f}; goal at most {GOAL_MILLISECONDS} ms more: {verdict}")
    print(f"    loaded for it: {', '.join(sorted(added))}; not asyncio, not the fixture's module")


if __name__ == "__main__":
    main()
