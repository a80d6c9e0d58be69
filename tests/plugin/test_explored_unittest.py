"""Explored methods of an IsolatedAsyncioTestCase run as unittest runs them, in each run with a new instance."""

import pytest

HEAD = """
import unittest
from contextlib import asynccontextmanager

{}
class TestShop(unittest.IsolatedAsyncioTestCase):
"""


@pytest.mark.parametrize("on", ["class", "method", "module"])
def test_all_phases_run_on_the_explored_loop(run, on: str) -> None:
    """Cleanups and contexts included; the failing order is found, and a sync method runs as usual."""
    source = {"module": "pytestmark = pytest.mark.explore"}.get(on, "") + HEAD.format(
        "@explore" if on == "class" else ""
    )
    source += f"""
    @classmethod
    def setUpClass(cls):
        cls.log = []

    def setUp(self):
        self.assertFalse(hasattr(self, "left"))

    async def asyncSetUp(self):
        await asyncio.sleep(0.5)
        self.left = 1
        self.loop = asyncio.get_running_loop()
        self.addAsyncCleanup(self.clean, "cleanup")
        self.entered = await self.enterAsyncContext(self.context())

    @asynccontextmanager
    async def context(self):
        await asyncio.sleep(0)
        yield "entered"
        await self.clean("context")

    async def clean(self, what):
        await asyncio.sleep(0)
        assert asyncio.get_running_loop() is self.loop
        self.log.append(what)

    async def asyncTearDown(self):
        await self.clean("tear down")

    async def buy(self):
        if self.left:
            await asyncio.sleep(0)
            self.left -= 1

    async def later(self):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self.buy()

    {"@explore" if on == "method" else ""}
    async def test_buy(self):
        assert self.entered == "entered" and not self.loop.get_debug()
        await asyncio.gather(self.buy(), self.later())
        self.assertEqual(self.left, 0)

    def test_sync(self):
        assert self.log[:3] in ([], ["tear down", "context", "cleanup"])
"""
    result = run(source)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "E * AssertionError: -1 != 0",
            "This test passes in asyncio's default order and fails with one deviation*",
            "  ! buy resumes late after yielding, at test_it.py:*",
        ]
    )
    result.stdout.no_fnmatch_line("*unittest*case.py*")


def test_subtests_fail_their_test(run) -> None:
    """The others still run; the note says which one it is."""
    source = HEAD.format("@explore")
    source += """
    async def test_it(self):
        order = []

        async def client(name):
            await asyncio.sleep(0)
            order.append(name)

        await asyncio.gather(client("a"), client("b"))
        for number, name in enumerate("ab"):
            with self.subTest(number=number):
                self.assertEqual(order[number], name)
        assert len(order) == 2
    """
    result = run(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E * AssertionError: 'b' != 'a'", "E * in test_it (*) (number=0)", "*with one deviation*"]
    )


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("self.skipTest('no reason')", {"skipped": 1}),
        ("raise unittest.SkipTest('no reason')", {"skipped": 1}),
        ("await twice()", {"passed": 1}),
        ("1 / 0", {"failed": 1}),
    ],
)
@pytest.mark.parametrize("where", ["asyncSetUp", "test_it", "asyncTearDown"])
def test_outcome_is_that_of_unittest(run, body: str, outcome: dict[str, int], where: str) -> None:
    bodies = dict.fromkeys(("asyncSetUp", "test_it", "asyncTearDown"), "pass") | {where: body}
    source = HEAD + "".join(f"\n    async def {name}(self):\n        {body}\n" for name, body in bodies.items())
    run(source.format("")).assert_outcomes(**outcome)
    run(source.format("@explore")).assert_outcomes(**outcome)


def test_expected_failure_ends_the_exploration(run) -> None:
    source = (
        HEAD + "\n    @unittest.expectedFailure\n    async def test_it(self):\n        await twice()\n        1 / 0\n"
    )
    run(source.format("")).assert_outcomes(xfailed=1)
    run(source.format("@explore")).assert_outcomes(xfailed=1)


def test_fixtures_of_pytest_are_fresh_in_each_run(run) -> None:
    """Those that a class uses with a mark or an autouse method."""
    source = HEAD.format("@explore\n@pytest.mark.usefixtures('box')")
    source += """
    @pytest.fixture(autouse=True)
    def path(self, tmp_path):
        self.path = tmp_path

    async def test_it(self):
        assert not list(self.path.iterdir())
        (self.path / "used").touch()
        await twice()

@pytest.fixture
def box(request):
    request.cls.made = getattr(request.cls, "made", 0) + 1

def test_afterwards():
    assert TestShop.made > 3
"""
    run(source, "-p", "no:randomly").assert_outcomes(passed=2)
