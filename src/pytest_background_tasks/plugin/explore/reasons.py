"""The reasons for which ``pytest --explore`` leaves a test at its usual run: a closed list, which the docs contain."""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """A reason.

    Attributes:
        code: its name in the JSON file.
        text: what is true of the test; the summary counts tests by it.
        advice: what to do to have the test explored.
    """

    code: str
    text: str
    advice: str


NOT_ASYNC = Reason("not-async", "not an async test", "nothing: only an async test has tasks whose order can vary")
NOT_PASSED = Reason("not-passed", "failed or was skipped in its usual run", "make the usual run pass first")
EXPECTED = Reason("expected-failure", "is expected to fail", "remove the mark xfail once the test passes")
EXCLUDED = Reason(
    "excluded", "excluded by the mark no_explore or by explore_exclude", "remove the mark, or the line in the ini file"
)
HYPOTHESIS = Reason(
    "hypothesis", "Hypothesis chooses its examples", "decorate the test with explore: each example is then explored"
)
BACKEND = Reason("backend", "runs on another backend than asyncio", "parametrize anyio_backend with asyncio too")
LOOP = Reason(
    "loop",
    "chooses another event loop, or another clock for its loop",
    "pass --explore-loop=asyncio, if asyncio's own loop is enough for the test; sleep instead of moving its clock",
)
FIXTURE = Reason(
    "fixture",
    "requests a fixture that explored tests cannot use",
    "remove virtual_time (exploring has virtual time already), or write plain assertions instead of subtests",
)
SETUP = Reason(
    "setup",
    "its fixtures cannot be set up and torn down a second time",
    "let the fixture release or reset what it takes, or exclude the test",
)
NETWORK = Reason(
    "network",
    "talks to something outside the test",
    "start the server in the test or in a fixture of function scope, or use a fake of the other side",
)
PROCESS = Reason("process", "starts a process", "use a fake of the code that starts the process")
SIGNAL = Reason("signal", "handles signals", "call the handler directly")
THREAD = Reason(
    "thread", "uses a thread that no schedule controls", "use asyncio.to_thread, or a fake of what starts the thread"
)
DIFFERENT = Reason(
    "different",
    "two runs of the same order differ",
    "move the state that differs into the test, or reset it at the start",
)
DEFAULT_ORDER = Reason(
    "default-order",
    "does not repeat: explored in asyncio's default order it does not pass",
    "read the error in the JSON file; state of an earlier run, real time or a lost exception is usual",
)
TIMEOUT = Reason(
    "timeout",
    "one of its explored runs exceeds the limit of pytest-timeout",
    "look for a call that blocks the thread, or raise the limit",
)
SKIPS = Reason("skips", "skips itself when it is run again", "let the test decide to skip before it changes anything")
UNFINISHED = Reason(
    "unfinished",
    "the session ended before its exploration",
    "let the session run to its end: -x, --maxfail and Ctrl-C end it earlier",
)
ERROR = Reason("error", "the plugin itself failed", "report the error in the JSON file as a bug of the plugin")

REASONS: tuple[Reason, ...] = (
    NETWORK,
    THREAD,
    PROCESS,
    SIGNAL,
    LOOP,
    BACKEND,
    FIXTURE,
    SETUP,
    DIFFERENT,
    DEFAULT_ORDER,
    TIMEOUT,
    SKIPS,
    HYPOTHESIS,
    EXCLUDED,
    EXPECTED,
    NOT_PASSED,
    NOT_ASYNC,
    UNFINISHED,
    ERROR,
)
"""All reasons, in the order of the summary."""

OF_KIND: dict[str, Reason] = {
    "network": NETWORK,
    "process": PROCESS,
    "signal": SIGNAL,
    "thread": THREAD,
    "loop": LOOP,
}
"""The reason for each kind of `UncontrolledOperation`."""
