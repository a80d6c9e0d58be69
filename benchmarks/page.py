"""The time to open the HTML report of a failure with 1,000 steps: `python benchmarks/page.py`.

It needs Chromium (Debian: `apt install chromium`) and Playwright, and measures with the browser's own clock.
"""

import asyncio
import platform
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from pytest_background_tasks import Explorer
from pytest_background_tasks._report.html import files_of, page
from pytest_background_tasks._report.model import FailureView, failure_view

REPETITIONS = 7
GOAL_SECONDS = 1.0
TASKS, TURNS = 10, 100
PAINTED = """new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"""


async def late_worker() -> None:
    """Fail unless the first worker comes first in the last iteration."""
    last: list[int] = []

    async def work(number: int) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        last.append(number)

    await asyncio.gather(*map(work, range(TASKS)))
    assert last[0] == 0


def story() -> FailureView:
    failure = Explorer(max_deviations=1).explore(late_worker).failure
    assert failure is not None
    assert failure.schedule
    return failure_view(failure)


def main() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("not measured: Chromium is not installed")
        return
    drawn, painted, switched = [], [], []
    shown = story()
    sources = {file: Path(file).read_text(encoding="utf-8").splitlines() for file in files_of(shown)}
    start = time.perf_counter()
    html = page(shown, title="t", error="e", text="", replay="", sources=sources)
    made = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder, "page.html")
        file.write_text(html, encoding="ascii")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        print(
            f"CPython {platform.python_version()}, Chromium {browser.version}, {sys.platform}; medians of {REPETITIONS}"
        )
        for _ in range(REPETITIONS):
            tab = browser.new_page()
            tab.goto(file.as_uri())
            painted.append(tab.evaluate(PAINTED) / 1000)
            drawn.append(tab.evaluate("performance.getEntriesByName('draw')[0].duration") / 1000)
            before = tab.evaluate("performance.now()")
            tab.keyboard.press("o")
            switched.append((tab.evaluate(PAINTED) - before) / 1000)
            tab.close()
        browser.close()
    print(f"{len(shown.failing.steps)} steps, {len(html) // 1024} KB, made in {made:.3f} s")
    for what, seconds in (("drawn", drawn), ("opened and painted", painted), ("other order painted", switched)):
        value = statistics.median(seconds)
        verdict = "met" if value < GOAL_SECONDS else "NOT MET"
        print(f"  {what:20} {value:6.3f} s  (goal {GOAL_SECONDS:g} s: {verdict})")


if __name__ == "__main__":
    main()
