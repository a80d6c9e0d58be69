"""The cost of the installed plugin in a session that does not use it: `python benchmarks/startup.py`.

Other plugins import asyncio and would hide the cost of ours, so pytest loads only ours.
"""

import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from sessions import (
    CAN_COUNT_INSTRUCTIONS,
    ENVIRONMENT,
    NOTHING,
    Middle,
    cpu_milliseconds,
    in_pairs,
    instructions,
    prepare,
)

PAIRS = 150
GOAL_MILLISECONDS = 5.0
COLLECT = ["--co"]
WITH = [*COLLECT, "-p", "pytest_background_tasks.plugin"]
WITHOUT = [*COLLECT, "-p", "no:background_tasks", "-p", NOTHING]
OURS = "pytest_background_tasks"

LOADED = """
import sys, pytest
pytest.main(sys.argv[1:])
print(*sys.modules)
"""


def modules(options: list[str], folder: Path) -> set[str]:
    """Return the names of the modules that are loaded at the end of a session with `options`."""
    command = [sys.executable, "-c", LOADED, "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def main() -> None:
    print(f"Start of pytest, on {platform.python_implementation()} {platform.python_version()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        # From Python 3.14 on pytest itself loads asyncio, through pdb, so only the difference counts.
        added = modules(WITH, folder) - modules(WITHOUT, folder)
        foreign = {module for module in added if module.partition(".")[0] != OURS}
        sides = [lambda: cpu_milliseconds(WITHOUT, folder), lambda: cpu_milliseconds(WITH, folder)]
        without, with_plugin = in_pairs(sides, PAIRS)
        counts = [instructions(options, folder) for options in (WITHOUT, WITH)] if CAN_COUNT_INSTRUCTIONS else []
    more = Middle.of([loaded - plain for plain, loaded in zip(without, with_plugin, strict=True)])
    print(f"\n  pytest --co in an empty folder, CPU ms, median (and 95 % interval) of {PAIRS} pairs")
    for title, value in (
        ("without the plugin", Middle.of(without)),
        ("with it, unused", Middle.of(with_plugin)),
        ("difference", more),
    ):
        print(f"    {title:22} {value.value:6.1f}   ({value.low:.1f} to {value.high:.1f})")
    print(f"    goal: at most {GOAL_MILLISECONDS} ms more: {more.verdict(GOAL_MILLISECONDS)}")
    if counts:
        plain, loaded = counts
        print(f"    instructions: {plain / 1e6:.0f} and {loaded / 1e6:.0f} million, {loaded / plain:.3f} times")
    print(f"    modules loaded for it: {', '.join(sorted(added - foreign))}")
    print(f"    other modules: {', '.join(sorted(foreign)) or 'none'}; no asyncio: {verdict('asyncio' not in added)}")


def verdict(is_met: bool) -> str:
    return "met" if is_met else "NOT MET"


if __name__ == "__main__":
    main()
