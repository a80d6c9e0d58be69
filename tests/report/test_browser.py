"""The page in a real browser: what a reader sees, hears and can do.

Needs Chromium and Playwright (`make browser`); without them these tests are skipped. Playwright drives the browser from
a loop of its own in this thread, which ends with this module.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pytest_background_tasks._explore.schedule import Delay
from pytest_background_tasks._introspect.wait_reason import WaitReason
from pytest_background_tasks._report.html import files_of, page
from pytest_background_tasks._report.model import FailureView, RunView

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="the page is not tested: no Playwright here (make browser)"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the page is not tested: no Chromium here (make browser)")

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Open: TypeAlias = Callable[..., Any]

WIDE, PHONE, NARROWEST = (1280, 860), (390, 844), (320, 640)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, tmp_path: Path, lost: FailureView) -> Iterator[Open]:
    """Opens a page from disk; at the end, nothing but that file was asked for, and no script has failed."""
    contexts, requests, complaints = [], [], []
    file = tmp_path / "page.html"

    def open_page(
        failing: FailureView = lost, *, size: tuple[int, int] = WIDE, sources: Any = None, **options: Any
    ) -> Any:
        words = options.pop("words", {})
        if sources is None:
            sources = {name: Path(name).read_text(encoding="utf-8").splitlines() for name in files_of(failing)}
        texts = {"title": "test_it.py::test_it", "error": "AssertionError: assert 1 == 2", "text": "All of it."}
        html = page(failing, **{**texts, "replay": "pytest --explore-replay 'add#1@1+1'", **words}, sources=sources)
        file.write_text(html, encoding="ascii")
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        context.on("request", lambda request: requests.append(request.url))
        opened = context.new_page()
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("console", lambda message: complaints.append(message.text))
        opened.goto(file.as_uri())
        return opened

    yield open_page
    for context in contexts:
        context.close()
    assert set(requests) <= {file.as_uri()}
    assert complaints == []


def chosen(page: Any) -> int:
    """The number of the step that is chosen."""
    [row] = page.get_by_role("option", selected=True).all()
    assert page.get_by_role("listbox").get_attribute("aria-activedescendant") == row.get_attribute("id")
    return int(row.get_attribute("id").removeprefix("step-")) + 1


def heading(page: Any) -> str:
    """What the panel beside the run shows."""
    return str(page.locator("#detail h2").inner_text())


def order(page: Any) -> str:
    """Which of the two orders is shown."""
    return str(page.locator("#orders button[aria-pressed=true]").inner_text())


# What a reader does.


def test_page_opens_at_the_deviation(open_page: Open) -> None:
    """In the failing order; the sentence above leads back to it."""
    page = open_page()
    assert (order(page), chosen(page)) == ("failing order", 7)
    assert "Deviation: add#1 resumes late after yielding, at " in page.locator("#detail").inner_text()
    page.keyboard.press("Home")
    page.get_by_role("button", name="default order").click()
    page.locator("#deviations").get_by_role("button", name="step 7").click()
    assert (order(page), chosen(page)) == ("failing order", 7)


def test_arrow_keys_select_steps(open_page: Open) -> None:
    """Down and up to the step before and after; right and left to those of the same task."""
    page = open_page()
    steps = []
    for key in ("Home", "ArrowUp", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
        steps.append(chosen(page))
    assert steps == [1, 1, 2, 7, 7, 2, 18, 18, 17]


def test_keys_select_deviations_and_switch_the_order(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("d")
    assert chosen(page) == 6, "where the orders part"
    page.keyboard.press("d")
    assert chosen(page) == 7
    page.keyboard.press("o")
    assert (order(page), chosen(page)) == ("default order", 6), "the same step of the same task"
    page.keyboard.press("o")
    assert (order(page), chosen(page)) == ("failing order", 7)


def test_buttons_do_what_the_keys_do(open_page: Open) -> None:
    page = open_page()
    for name, step in (("Previous", 6), ("Next", 7), ("Next", 8), ("Deviation", 6)):
        page.get_by_role("button", name=name).click()
        assert chosen(page) == step


def test_selected_step_is_in_view(open_page: Open, explored) -> None:
    page = open_page(explored(many_steps, max_deviations=0), size=PHONE)
    for key in ("End", "Home"):
        page.keyboard.press(key)
        page.wait_for_function("""() => {
            const row = document.querySelector("[aria-selected=true]").getBoundingClientRect();
            const view = document.getElementById("scroll").getBoundingClientRect();
            return row.top >= view.top && row.bottom <= view.bottom + 1;
        }""")


async def long_statement() -> None:
    short = 1
    long = {"of what is longer than a row of the page": short, "a value that does not fit into it any more": "the end"}
    assert not long, "whatever"


def test_hovering_shows_a_truncated_row_in_full(open_page: Open, explored: Any, lost: FailureView) -> None:
    """A statement a line; a row that fits says no more."""
    page = open_page(explored(long_statement, max_deviations=0), size=(1000, 800))
    page.locator("#step-0").hover()
    title = page.locator("#step-0").get_attribute("title").splitlines()
    assert title[0] == "main"
    assert title[-3].endswith('"the end"}')
    assert title[-1] == "raises AssertionError"
    page = open_page(lost)
    page.locator("#step-7").hover()
    assert not page.locator("#step-7").get_attribute("title")


def test_hovering_shows_a_step_without_selecting_it(open_page: Open) -> None:
    """Nor does it make a screen reader speak."""
    page = open_page()
    said = page.get_by_role("status").inner_text()
    page.locator("#step-4").hover()
    assert heading(page) == "Step 5 \N{MIDDLE DOT} hold#2"
    assert chosen(page) == 7
    assert page.get_by_role("status").inner_text() == said
    page.locator("h1").hover()
    assert heading(page) == "Step 7 \N{MIDDLE DOT} add#1"


def test_tap_selects_a_step(open_page: Open) -> None:
    page = open_page(size=PHONE, has_touch=True, is_mobile=True)
    page.locator("#step-4").tap()
    assert chosen(page) == 5
    assert heading(page) == "Step 5 \N{MIDDLE DOT} hold#2"


def test_step_shows_its_lines_its_wait_and_its_waker(open_page: Open) -> None:
    page = open_page()
    detail = page.locator("#detail")
    page.locator("#step-4").click()
    assert "Then waits for\na lock held by hold#1" in detail.inner_text()
    page.keyboard.press("ArrowRight")
    assert heading(page) == "Step 13 \N{MIDDLE DOT} hold#2"
    assert "Virtual time\n1.5 s" in detail.inner_text()
    lines = [line.inner_text().split("\n") for line in detail.locator(".source .at, .source .until").all()]
    assert [(text.strip(), said.strip()) for _, text, said in lines] == [
        ("async with lock:", "resumes here"),
        ("await asyncio.sleep(seconds)", "then waits here"),
    ]
    detail.get_by_role("button", name="step 12, hold#1").click()
    assert chosen(page) == 12


def test_executed_lines_are_in_the_row_and_marked_in_the_source(open_page: Open) -> None:
    """Not only those at which it goes on and stops."""
    page = open_page()
    page.locator("#step-1").click()
    assert page.locator("#step-1 code").all_inner_texts() == [
        "40 for _ in range(turns):",
        "42 before = total",
        "43 await look_up()",
    ]
    assert [line.inner_text().split("\n")[0] for line in page.locator("#detail .ran").all()] == ["40", "42", "43"]


def test_deviation_is_marked_at_one_step_only(open_page: Open, explored) -> None:
    """Not at the end of the sleep too, which only lets the task go on."""
    page = open_page(explored(late_sleep, arrivals="sleep"))
    assert page.locator("li .mark").all_inner_texts() == ["resumes late"]
    assert "resumes late from its sleep" in page.locator("#deviations").inner_text()


async def late_sleep() -> None:
    import asyncio

    seen = []

    async def nap(number: int) -> None:
        await asyncio.sleep(1)
        seen.append(number)

    await asyncio.gather(nap(1), nap(2))
    assert seen == [1, 2]


def test_raising_line_is_marked_and_other_tasks_show_their_state(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("End")
    assert "assert total == 2" in page.locator(".source .raised").inner_text()
    assert "raises AssertionError" in page.locator(".source .raised").inner_text()
    page.keyboard.press("Home")
    assert page.locator(".others").inner_text().count("has not run yet") == 4
    page.locator("#step-4").click()
    assert "waits for a sleep of 1.5 s" in page.locator(".others").inner_text()


def test_an_arrow_leads_from_the_waker(open_page: Open) -> None:
    page = open_page()
    arrow = page.locator("svg .chosen.line")
    page.locator("#step-12").click()
    assert arrow.get_attribute("d") != ""
    page.locator("#step-5").click()
    assert arrow.get_attribute("d") == "", "add#2 only gave way"


def test_arrows_lead_over_the_network_from_the_senders(open_page: Open, late_answer: FailureView) -> None:
    """To the event that arrives, one from each; a late event is the chosen one, and its arrows say so."""
    page = open_page(late_answer)
    assert page.locator("#detail").inner_text().count("Sent by") == 1
    [late] = [index for index, step in enumerate(late_answer.failing.steps) if len(step.caused_by) == 2][1:]
    assert chosen(page) == late + 1
    for arrows in ("svg .chosen.line", "svg path.sent.odd:not(.heads)"):
        assert page.locator(arrows).get_attribute("d").count("C") == 2
    assert page.locator("#status").inner_text().count("serve#1 in step ") == 2
    page.get_by_role("button", name="default order").click()
    assert page.locator("svg path.sent.odd:not(.heads)").get_attribute("d") == ""
    assert page.locator("svg path.sent:not(.odd, .heads)").get_attribute("d").count("C") > 2


def test_sender_and_event_lead_to_each_other(open_page: Open, late_answer: FailureView) -> None:
    page = open_page(late_answer)
    event = chosen(page)
    page.locator("#detail dd").first.get_by_role("button").first.click()
    assert chosen(page) == min(late_answer.failing.steps[event - 1].caused_by) + 1
    assert "Causes" in page.locator("#detail").inner_text()
    page.locator("#detail").get_by_role("button", name=f"step {event}, ask#1").click()
    assert chosen(page) == event


def test_network_is_explained_only_where_there_is_one(
    open_page: Open, lost: FailureView, late_answer: FailureView
) -> None:
    assert not open_page(lost).get_by_text("over the network").is_visible()
    assert open_page(late_answer).get_by_text("over the network").is_visible()


# What it costs, and what it must not do.


async def many_steps() -> None:
    import asyncio

    async def work() -> None:
        for _ in range(100):
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(10)))
    raise ValueError


def test_all_of_a_thousand_steps_are_listed(open_page: Open, explored) -> None:
    """How long that takes is measured in benchmarks/page.py."""
    story = explored(many_steps, max_deviations=0)
    page = open_page(story)
    assert page.get_by_role("option").count() == len(story.failing.steps) > 1000
    [drawn] = page.evaluate("performance.getEntriesByName('draw').map((each) => each.duration)")
    assert drawn > 0


def test_omitted_steps_are_counted(open_page: Open, lost: FailureView) -> None:
    long = replace(lost.failing, steps=lost.failing.steps[:5] * 1000)
    page = open_page(replace(lost, baseline=None, failing=long, divergence=None))
    assert page.locator("[data-note]").get_attribute("data-note").endswith(" steps are not shown")
    page.keyboard.press("End")
    assert chosen(page) == 5000


HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror=window.hacked=1>",
    "--><!--data--><!--script-->",
    "\u2028window.hacked = 1\u2029",
    "__proto__",
    "constructor",
    "\ud800 \x00 \x1b[31m",
    "'\"`${window.hacked = 1}",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_shown_as_text(open_page: Open, lost: FailureView, name: str) -> None:
    """As the name of a task, in what it waits for, in a message, as a line of source."""

    def hostile(run: RunView) -> RunView:
        tasks = tuple(f"{name}{number}" for number, _ in enumerate(run.tasks))
        called = dict(zip(run.tasks, tasks, strict=True))
        steps = (
            replace(
                step,
                task=called.get(step.task, ""),
                starts=tuple(map(called.__getitem__, step.starts)),
                waiting_for=step.waiting_for and WaitReason("future", name),
                lines=tuple(replace(line, text=name) for line in step.lines),
            )
            for step in run.steps
        )
        deviations = (replace(each, deviation=Delay(name, 1), code=name) for each in run.deviations)
        return RunView(tasks, tuple(steps), tuple(deviations))

    assert lost.baseline is not None
    failing = FailureView(hostile(lost.baseline), hostile(lost.failing), lost.divergence)
    words = dict.fromkeys(("title", "error", "text", "replay"), name)
    page = open_page(failing, sources={file: [name] * 99 for file in files_of(lost)}, words=words)
    for key in ("o", "o", *["ArrowDown"] * 4):
        page.keyboard.press(key)
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.querySelectorAll('script, img').length") == 2
    shown = page.evaluate("[...document.querySelectorAll('li .who')].map((each) => each.textContent)")
    assert shown[0] == f"{name}0"
    assert page.evaluate("Object.keys({}).length + Object.prototype.toString.call('')") == "0[object String]"


def test_policy_blocks_other_scripts_and_requests(browser: Any, tmp_path: Path, lost: FailureView) -> None:
    """Even if text got onto the page as markup, it could do nothing."""
    file = tmp_path / "page.html"
    words = {"title": "", "error": "", "text": "", "replay": "", "sources": {}}
    file.write_text(page(lost, **words).replace("<main", "<script>window.hacked = 1</script><img src='x.png'><main"))
    context = browser.new_context()
    requests: list[str] = []
    failures: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    context.on("requestfailed", lambda request: failures.append(request.url))
    opened = context.new_page()
    opened.goto(file.as_uri())
    assert opened.evaluate("window.hacked") is None
    assert opened.evaluate("fetch('page.html').then(() => 'out', () => 'refused')") == "refused"
    assert set(requests) - set(failures) == {file.as_uri()}
    context.close()


# Who reads it, and where.


def luminance(page: Any) -> float:
    """How light the paper is, from 0 to 765."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_theme_follows_the_system_until_it_is_changed(open_page: Open, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    is_light = luminance(page) > 600
    assert is_light == (scheme == "light")
    page.get_by_role("button", name="Dark" if is_light else "Light").click()
    assert (luminance(page) > 600) == (not is_light)
    page.get_by_role("button", name="Light" if is_light else "Dark").click()
    assert (luminance(page) > 600) == is_light


@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", PHONE)], ids=["light, wide", "dark, phone"])
def test_page_has_no_accessibility_violations(open_page: Open, scheme: str, size: tuple[int, int]) -> None:
    """As far as axe can tell: names, roles, contrast."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe here (make browser)")
    page = open_page(color_scheme=scheme, size=size)
    for key in ("End", "d"):
        page.keyboard.press(key)
        results = axe.Axe().run(page)
        assert results.violations_count == 0, results.generate_report()


def test_screen_reader_announces_the_selected_step(open_page: Open) -> None:
    page = open_page()
    status = page.get_by_role("status")
    assert status.inner_text().startswith("Step 7: add#1 resumes at ")
    assert "Deviation: add#1 resumes late after yielding, at " in status.inner_text()
    page.keyboard.press("Home")
    assert status.inner_text().startswith(
        "Step 1: main starts, starts add#1 and add#2 and hold#1 and hold#2, then waits"
    )


def test_elements_have_accessible_names(open_page: Open) -> None:
    snapshot = open_page().locator("body").aria_snapshot()
    for expected in (
        '- heading "test_it.py::test_it" [level=1]',
        '- region "The run"',
        '- group "Order shown"',
        '- button "failing order" [pressed]',
        '- listbox "Steps of failing order"',
        '- option "Step 7 add#1 resumes late 44 total = before + 1 returns" [selected]',
        '- region "The selected step"',
        '- button "Next"',
    ):
        assert expected in snapshot, snapshot


def test_tab_key_reaches_all_controls_with_a_visible_focus(open_page: Open) -> None:
    page = open_page()
    reached = []
    while "BODY" not in reached:
        page.keyboard.press("Tab")
        name, outline = page.evaluate("""() => {
            const element = document.activeElement;
            if (element === document.body) return ["BODY", "around the window"];
            return [element.id || element.textContent, getComputedStyle(element).outlineStyle];
        }""")
        assert outline != "none", name
        reached.append(name)
    assert reached[:4] == ["theme", "step 7", "Terminal output", "default order"]
    assert {"previous", "next", "deviation", "detail"} <= set(reached)


@pytest.mark.parametrize("size", [WIDE, PHONE, NARROWEST], ids=["wide", "phone", "narrowest"])
def test_page_does_not_overflow_horizontally(open_page: Open, size: tuple[int, int]) -> None:
    page = open_page(size=size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_run_is_redrawn_when_the_window_narrows(open_page: Open) -> None:
    page = open_page()
    before = page.locator("svg").bounding_box()
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.wait_for_function(
        "(width) => document.querySelector('svg').getBoundingClientRect().width < width", arg=before["width"]
    )
    assert chosen(page) == 7
    row, ring = page.locator("#step-6").bounding_box(), page.locator("svg .ring").bounding_box()
    assert row["y"] <= ring["y"] + ring["height"] / 2 <= row["y"] + row["height"], "the drawing fits the rows"


def test_printout_has_all_steps_and_no_buttons_on_white(open_page: Open) -> None:
    page = open_page(color_scheme="dark")
    page.emulate_media(media="print")
    assert luminance(page) > 700
    assert not page.get_by_role("button", name="Next").is_visible()
    assert page.locator("#scroll").evaluate("(element) => element.scrollHeight <= element.clientHeight + 1")
    head, first = page.locator(".lanes span").first.bounding_box(), page.locator("#step-0").bounding_box()
    assert head["y"] + head["height"] <= first["y"]
    assert page.pdf().startswith(b"%PDF")


def test_text_is_shown_without_javascript(open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    body = page.locator("body").inner_text()
    assert "AssertionError: assert 1 == 2" in body
    assert "needs JavaScript" in body
