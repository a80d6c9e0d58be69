"""The page as text: what is in it, and what is not."""

import asyncio
import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_background_tasks._introspect.wait_reason import WaitReason
from pytest_background_tasks._report.html import files_of, page
from pytest_background_tasks._report.model import FailureView, StepKind


def made(failing: FailureView, **changes: Any) -> str:
    """A page, with what a test does not care about left out."""
    words = {"title": "test_it", "error": "AssertionError", "text": "", "replay": "", "sources": {}}
    return page(failing, **{**words, **changes})


def data_of(html: str) -> Any:
    """What the page's script draws."""
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(text)


def test_page_is_self_contained(lost: FailureView) -> None:
    """Nothing in it names a place to load something from."""
    html = made(lost)
    assert html.isascii()
    assert not re.findall(
        r"""(?:src|href|url|import)\s*[=(]|@import|//[\w.]+\.\w+/""", html.replace("http://www.w3.org/2000/svg", "")
    )


def test_policy_allows_only_the_script_and_style_of_the_page(lost: FailureView) -> None:
    html = made(lost)
    [policy] = re.findall('http-equiv="Content-Security-Policy" content="(.*?)"', html)
    [style] = re.findall("<style>(.*?)</style>", html, re.DOTALL)
    [script] = re.findall("<script>(.*?)</script>", html, re.DOTALL)

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest(style)}'; script-src 'sha256-{digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


async def one_step() -> None:
    assert asyncio is None


@pytest.fixture(scope="session")
def short(explored) -> FailureView:
    """A failure in the usual order, in one step."""
    failing: FailureView = explored(one_step)
    return failing


@given(text=st.text())
def test_arbitrary_text_does_not_change_the_markup(short: FailureView, text: str) -> None:
    """Whatever the program's names, messages and source are, the page is made of the same elements."""
    step = short.failing.steps[0]
    changed = replace(step, kind=StepKind.CALLBACK, subject=text, waiting_for=WaitReason("future", text))
    callback = replace(changed, task="", is_step=False)
    named = replace(short.failing, tasks=(text or "-",), steps=(replace(changed, task=text or "-"), callback))
    file = step.resumed_at[0].site.file
    words = {"title": text, "error": text, "text": text, "replay": text, "sources": {file: [text] * 99}}
    html = made(replace(short, failing=named), **words).replace("<wbr>", "")  # a long name may break at its colons
    assert re.findall("<[/!]?[a-z-]+", html) == re.findall("<[/!]?[a-z-]+", made(short))
    [run] = data_of(html)["runs"]
    assert run["tasks"] == [text or "-"]
    assert run["steps"][0].get("waitingFor", "") == run["steps"][1].get("callback", "") == text


def test_page_contains_only_the_source_of_executed_functions(lost: FailureView) -> None:
    [file] = files_of(lost)
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    functions = data_of(made(lost, sources={file: lines}))["functions"]
    shown = {text for function in functions for _, text in function["lines"]}
    assert {function["name"].rpartition(".")[2] for function in functions} == {"lost_update", "add", "hold", "look_up"}
    assert "        before = total" in shown
    assert not [text for text in shown if "Explorer" in text]


def test_long_function_is_shown_only_near_the_relevant_lines(lost: FailureView) -> None:
    """So is code that cannot be read as Python."""
    [file] = files_of(lost)
    for source in (["async def lost_update():\n", *["    pass\n"] * 400], ["no Python ((\n"] * 400):
        functions = data_of(made(lost, sources={file: source}))["functions"]
        assert 0 < max(len(function["lines"]) for function in functions) < 100


def test_run_is_drawn_without_its_source(lost: FailureView) -> None:
    data = data_of(made(lost))
    assert [run["name"] for run in data["runs"]] == ["default order", "failing order"]
    assert all(function["lines"] == [] for function in data["functions"])


def test_failure_in_the_default_order_has_one_run(short: FailureView) -> None:
    [run] = data_of(made(short))["runs"]
    assert run["name"] == "failing order"


def test_cleanup_by_the_explorer_is_not_shown(lost: FailureView) -> None:
    assert "ControlledLoop" not in made(lost)


def test_event_of_the_network_names_the_steps_that_have_caused_it(late_answer: FailureView) -> None:
    """Here the two that have sent a part of the late answer."""
    run = data_of(made(late_answer))["runs"][1]
    steps, tasks = run["steps"], run["tasks"]
    [late] = [step for step in steps if step["namedBeginning"].startswith("ask#1's connection receives 12 bytes: ")]
    assert late["relation"] == "sent by"
    senders = [tasks[steps[index]["task"]].rpartition("/")[2] for index in late["causedBy"]]
    assert senders == ["serve#1", "serve#1"]
    assert len(set(late["causedBy"])) == 2


def test_livelock_is_reduced_to_its_ends_and_its_deviation(lost: FailureView) -> None:
    """A page of 20,000 steps would open slowly, and say no more."""
    steps = lost.failing.steps[:5] * 4000
    [deviation] = lost.failing.deviations
    failing = replace(lost.failing, steps=steps, deviations=(replace(deviation, step=9000),))
    shown = [step["index"] for step in data_of(made(replace(lost, failing=failing)))["runs"][1]["steps"]]
    assert len(shown) <= 2000
    assert shown == sorted(set(shown))
    assert {0, 1, 8999, 9000, 9001, 19_998, 19_999} <= set(shown)
