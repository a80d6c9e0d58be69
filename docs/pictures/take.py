"""Screenshots of HTML reports for the documentation: `make pictures`.

The reports are those of the README's example, of docs/pictures/failures.py and of the example application. The
browser is the system's Chromium.
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SIZES = {"wide": (1280, 860), "narrow": (390, 844)}
COLOURS = 128  # keeps the files small
SCHEMES = ("light", "dark")
PICTURES = {
    "test_a_seat_has_one_owner": "seats",
    "test_a_memory_is_flagged_once": "auditors",
    "test_all_philosophers_dine": "philosophers",
    "test_no_token_is_lost": "token",
    "test_what_is_read_belongs_together": "two-stages",
    "test_concurrent_audits_fail_when_explored": "chat",
    "test_a_thousand_steps": "thousand-steps",
}


def leave_pages(folder: str) -> None:
    """Run the failing tests, which write their HTML reports into `folder`."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    pytest += [f"--explore-report={folder}", "--tb=no"]
    # The project's configuration excludes this folder from collection.
    alone = ["--noconftest", "-o", "addopts=--import-mode=importlib", "-o", "pythonpath=tests/quality"]
    chat = ["--runxfail", "examples/chat/tests/test_chat_two_audits.py::test_concurrent_audits_fail_when_explored"]
    for options in ([*alone, "docs/pictures/failures.py"], chat):
        subprocess.run([*pytest, *options], cwd=ROOT, check=False)
    example = re.search(r"```python\n(# test_seats\.py\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    Path(folder, "test_seats.py").write_text(example[1])
    subprocess.run([*pytest, "--rootdir=."], cwd=folder, check=False)


def take(browser: Browser, page: Path, name: str) -> None:
    """Take four screenshots of a report: each size in each color scheme."""
    for size, (width, height) in SIZES.items():
        for scheme in SCHEMES:
            tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            tab.goto(page.as_uri())
            if size == "narrow":
                tab.locator("main").evaluate("(element) => element.scrollIntoView()")
            picture = Image.open(io.BytesIO(tab.screenshot()))
            picture.quantize(COLOURS).save(HERE / f"{name}-{size}-{scheme}.png", optimize=True)
            tab.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        leave_pages(folder)
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for test, name in PICTURES.items():
            [page] = Path(folder).glob(f"{test}-*.html")
            take(browser, page, name)
            print(f"{name}: {page.stat().st_size // 1024} KB")
        browser.close()


if __name__ == "__main__":
    main()
