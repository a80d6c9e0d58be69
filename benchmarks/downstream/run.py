"""Run other projects' test suites with and without the plugin: `python benchmarks/downstream/run.py [PROJECT...]`.

Each project is installed from its source distribution into a separate environment. Its suite runs twice without the
plugin, once with the plugin as installed, once with all reports on, and twice with ``--explore``. Every test must have
the same result each time, except tests that are flaky without the plugin; those that fail under a deviation must be the
same ones both times. The reports are printed; README.md describes the results.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]


class Project(NamedTuple):
    """A project whose suite is run.

    Attributes:
        name: The name of the source distribution.
        version: The version that README.md describes.
        needs: Further requirements of its tests.
        options: Options for pytest.
    """

    name: str
    version: str
    needs: tuple[str, ...]
    options: tuple[str, ...] = ()


PROJECTS = (
    Project(
        "starlette",
        "1.10.0",
        ("starlette[full]", "httpx2[zstd]", "trio", "blockbuster", "pytest>=9.1.1", "opentelemetry-sdk"),
    ),
    Project("aiojobs", "1.4.0", ("pytest-aiohttp", "pytest-asyncio", "aiohttp"), ("--asyncio-mode=auto",)),
    Project(
        "anyio",
        "4.16.0",
        (
            "blockbuster",
            "hypothesis",
            "psutil",
            "pytest-mock",
            "pytest-timeout",
            "trio",
            "trustme",
            "truststore",
            "uvloop",
        ),
        ("-k", "(asyncio and not ipv6) or test_control", "-m", "not network"),
    ),
)
EXPLORED = "explored.json"
EXPLORE = ("--explore", "--explore-only-report", f"--explore-json={EXPLORED}")
WITHOUT = ("-p", "no:background_tasks")
RUNS = {
    "without the plugin": WITHOUT,
    "without it, again": WITHOUT,
    "installed": (),
    "all reports": (
        "--background-tasks-unhandled=warn",
        "--background-tasks-leaked=warn",
        "--background-tasks-destroyed=search",
        "-W",
        "always::pytest_background_tasks.BackgroundTaskWarning",  # also where every other warning is an error
    ),
    "explored": EXPLORE,
    "explored, again": EXPLORE,
}

CONTROL = """
import asyncio

async def fail():
    raise ConnectionError

async def start():
    asyncio.create_task(fail())
    await asyncio.sleep(0)

def test_control():
    asyncio.run(start())
"""
"""A test that must be reported, as evidence that the reports are active when nothing else is reported."""


def prepare(project: Project, folder: Path) -> tuple[Path, Path]:
    """Create the project's environment, and return its Python and the folder of the project's source."""
    environment = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-q"]
    pinned = f"{project.name}=={project.version}"
    subprocess.run([*pip, "install", "--upgrade", "pip"], check=True)
    subprocess.run([*pip, "download", "--no-deps", "--no-binary", project.name, pinned, "-d", folder], check=True)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "source", filter="data")
    [source] = (folder / "source").iterdir()
    subprocess.run([*pip, "install", pinned, *project.needs, "pytest", ROOT], check=True)
    return python, source


def outcomes(python: Path, source: Path, options: tuple[str, ...]) -> tuple[dict[str, list[str]], str]:
    """Run the suite, and return the outcome of each test and the output of pytest."""
    report = source / "report.xml"
    control = source / "tests" / "test_control.py"
    control.write_text(CONTROL)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *options, "tests"]
    done = subprocess.run(command, cwd=source, stdout=subprocess.PIPE, text=True, check=False)
    if not report.exists():
        sys.exit(f"{done.stdout}\npytest wrote no results")
    tests: dict[str, list[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.attrib['classname']}::{case.attrib['name']}"
        ends = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
        if not name.endswith("test_control::test_control"):
            tests.setdefault(name, []).append(" ".join(ends) or "passed")
    return tests, done.stdout


def failing_schedules(file: Path) -> set[str]:
    """Return the tests that fail under a deviation, each with its schedule; print them, and what was explored."""
    tests = json.loads(file.read_text())["tests"]
    explored = [test for test in tests if test["verdict"]]
    several = sum(test["distinct"] > 1 for test in explored)
    reasons = Counter(test["reason"] for test in tests if test["reason"])
    print(f"    {len(explored)} explored, {several} with more than one order; {dict(reasons)}")
    for test in explored:
        if test["verdict"] == "failed":
            print(f"    {test['test']} fails under {test['schedule']}: {test['error']}")
    return {f"{test['test']} {test['schedule']}" for test in explored if test["verdict"] == "failed"}


def run(project: Project, folder: Path) -> bool:
    """Run the suite of one project, and return True if all runs had the same results."""
    python, source = prepare(project, folder)
    print(f"\n=== {project.name} {project.version}")
    first: dict[str, list[str]] = {}
    wavering: set[str] = set()
    failing: list[set[str]] = []
    are_same = True
    for title, options in RUNS.items():
        start = time.perf_counter()
        tests, output = outcomes(python, source, (*project.options, *options))
        print(f"  {title}: {output.splitlines()[-1]}, {time.perf_counter() - start:.1f} s in all")
        first = first or tests
        differing = {name for name in first.keys() | tests.keys() if first.get(name) != tests.get(name)}
        if options is WITHOUT:
            wavering |= differing
        for name in sorted(differing):
            excuse = " (flaky without the plugin)" if name in wavering else ""
            print(f"    {name}: {first.get(name)}, now {tests.get(name)}{excuse}")
        are_same = are_same and differing <= wavering
        if options is EXPLORE:
            failing.append(failing_schedules(source / EXPLORED))
        else:
            reports = output
    print(reports)
    are_same = are_same and failing[0] == failing[1]
    is_watched = "background task" in reports and "test_control.py" in reports
    print("the control is reported" if is_watched else "THE CONTROL IS NOT REPORTED")
    return are_same and is_watched


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("projects", nargs="*", help=", ".join(project.name for project in PROJECTS))
    chosen = parser.parse_args().projects
    are_same = True
    for project in PROJECTS:
        if not chosen or project.name in chosen:
            with tempfile.TemporaryDirectory() as folder:
                are_same = run(project, Path(folder)) and are_same
    print("same results" if are_same else "DIFFERENT RESULTS")
    return 0 if are_same else 1


if __name__ == "__main__":
    sys.exit(main())
