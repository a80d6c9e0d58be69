"""The example application's own tests are explored, unchanged."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

CHAT = Path(__file__).parents[2] / "examples" / "chat"


def test_the_tests_of_the_chat_are_explored_and_none_fails(tmp_path: Path) -> None:
    """Those that are not, start threads of their own."""
    report = tmp_path / "out.json"
    options = ["-q", "-n0", "-p", "no:cacheprovider", "-p", "no:randomly", "--explore-max-schedules=20"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--explore", f"--explore-json={report}", str(CHAT / "tests")],
        cwd=CHAT.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    tests = json.loads(report.read_text())["tests"]
    reasons = Counter(each["reason"] for each in tests)
    assert reasons[None] > 10
    assert set(reasons) <= {None, "not-async", "thread"}
    assert all(each["verdict"] != "failed" for each in tests)
