"""A failure as one HTML file that a browser opens from disk: who ran when, at which lines, and what was different.

How it works. The page is a template, a style sheet and a script, which lie beside this file, and the story as JSON. The
script draws from that; it asks nothing of any network, and the page's own policy forbids it to. What comes from the
program under test (names, source, messages) is data everywhere: escaped where it stands in the HTML or the JSON, and
put on the page by the script as text, never as markup.

What is embedded: of the source, the functions that the failure's tasks were in; of values, what the error message says.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from importlib.resources import files as resources
from typing import Any

from ..sites import Site, shown_file
from ..syntax import syntax_tree
from .source import Line, in_short
from .story import Failing, Moment, Story, gets_of, wait_of
from .table import file_of, number_of

_MOST = 2000
"""How many moments of one run are drawn; of more (a livelock) the page has the first, the last, and what differs."""

_NEAR = 8
"""How many lines around one that matters are shown of a long function."""

_LONG = 60
"""From how many lines on a function is long."""

_WIDE = 400
"""How many characters of one line are shown."""


def page(
    failing: Failing, *, title: str, error: str, text: str, replay: str, sources: Mapping[str, Sequence[str]]
) -> str:
    """The page, in ASCII.

    Args:
        failing: what is drawn.
        title: what the page is called: the test.
        error: the error with its message; its first line also stands where the drawing ends.
        text: what the terminal says of the failure.
        replay: what to type to see it again.
        sources: the lines of the files in `files_of`; of a file that is missing no source is shown.
    """
    shown = _data(failing, error, sources)
    style, script = _resource("page.css"), _resource("page.js")
    parts = {
        "policy": f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        "title": html.escape(title),
        "heading": re.sub("(::|/)", r"\1<wbr>", html.escape(title)),
        "error": html.escape(error),
        "text": html.escape(text),
        "replay": html.escape(replay),
        "data": _as_json(shown),
        "style": style,
        "script": script,
    }
    whole = _resource("page.html")
    for name, part in parts.items():  # what was escaped has no `<`, so it cannot look like one of these places
        whole = whole.replace(f"<!--{name}-->", part)
    return whole.encode("ascii", "xmlcharrefreplace").decode("ascii")


def files_of(failing: Failing) -> list[str]:
    """The files of which the page shows source."""
    stories = [story for story in (failing.usual, failing.here) if story is not None]
    return sorted({line.site.file for story in stories for line in _lines_of(story.moments)})


def _lines_of(moments: Iterable[Moment]) -> Iterator[Line]:
    for moment in moments:
        yield from moment.at
        yield from moment.until
        yield from moment.ran


def _resource(name: str) -> str:
    package = __name__.rpartition(".")[0]  # `__package__` is deprecated
    return resources(package).joinpath(name).read_text(encoding="ascii")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _as_json(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"))  # ASCII only, so no U+2028 and no lone surrogate either
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(failing: Failing, error: str, sources: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    outcome = error.splitlines()[0] if error else ""
    stories = [("failing order", outcome, False, failing.here)]
    if failing.usual is not None:
        stories.insert(0, ("asyncio's order", "passes", True, failing.usual))
    kept = [_kept(story, failing.parting) for *_, story in stories]
    functions, file = _Functions(sources), file_of(failing.here)
    for (*_, story), indices in zip(stories, kept, strict=True):
        for line in _lines_of(story.moments[index] for index in indices):
            functions.add(line)
    return {
        "parting": failing.parting,
        "stories": [
            {
                "name": name,
                "outcome": outcome,
                "passes": passes,
                "lanes": story.lanes,
                "moments": [_moment(index, story, functions, file, last) for index in indices],
                "differences": [
                    {
                        "mark": each.mark,
                        "sentence": each.sentence,
                        "code": each.code,
                        "path": each.path,
                        "index": each.moment,
                    }
                    for each in story.differences
                ],
            }
            for (name, outcome, passes, story), indices in zip(stories, kept, strict=True)
            for last in [_last(story)]
        ],
        "functions": functions.as_data(),
    }


def _kept(story: Story, parting: int | None) -> list[int]:
    """The indices of the moments that are drawn."""
    own = [index for index, moment in enumerate(story.moments) if not _is_ours(moment)]
    if len(own) <= _MOST:
        return own
    third = _MOST // 3
    different = {each.moment for each in story.differences}
    apart = [index for index in own if index == parting or index in different]
    around = {near for index in apart[:3] for near in range(index - third // 6, index + third // 6)}
    return [index for place, index in enumerate(own) if place < third or place >= len(own) - third or index in around]


def _last(story: Story) -> Set[int]:
    """The indices of each task's last step."""
    return set({moment.lane: index for index, moment in enumerate(story.moments) if moment.is_step}.values())


def _is_ours(moment: Moment) -> bool:
    """Whether it is what the explorer's loop does when the test has ended."""
    return moment.what.startswith("PlayedLoop.")


def _moment(index: int, story: Story, functions: _Functions, file: str, last: Set[int]) -> dict[str, Any]:
    moment = story.moments[index]
    marks = [each.mark for each in story.differences if each.moment == index]
    lines = [
        ("\N{HORIZONTAL ELLIPSIS}", "", 0) if line is None else (number_of(line, file), line.text, indent)
        for line, indent in in_short(moment.ran, file)
    ]
    values = {
        "index": index,
        "lane": story.lanes.index(moment.lane) if moment.lane else None,
        "what": moment.what,
        "gets": gets_of(moment, marks),
        "lines": lines,
        "isStep": moment.is_step,
        "at": [functions.place(line) for line in moment.at],
        "ran": list(dict.fromkeys(functions.place(line) for line in moment.ran)),
        "until": [functions.place(line) for line in moment.until],
        "waits": wait_of(moment, is_last=index in last),
        "waitsFor": moment.waits_for,
        "end": moment.end,
        "starts": [story.lanes.index(lane) for lane in moment.starts],
        "wokenBy": moment.woken_by,
        "time": moment.time,
    }
    return {name: value for name, value in values.items() if value not in (None, "", [])}


_WITHIN = re.compile(r"(?<=.)(\.<locals>)?(\.<\w+>)+$")
"""What stands in a function and has a name of its own: a lambda, a comprehension until Python 3.11."""


class _Functions:
    """The functions that lines stand in, with as much of their source as is shown."""

    def __init__(self, sources: Mapping[str, Sequence[str]]) -> None:
        self._sources = sources
        self._ranges = {file: list(_ranges(lines)) for file, lines in sources.items()}
        self._numbers: dict[tuple[str, str, int, int], int] = {}
        self._places: dict[Site, tuple[int, int]] = {}
        self._used: list[set[int]] = []

    def add(self, line: Line) -> None:
        """Make sure that the source around `line` is shown."""
        number, at = self.place(line)
        self._used[number].add(at)

    def place(self, line: Line) -> tuple[int, int]:
        """The number of the function in which `line` stands, and that of the line in its file."""
        if line.site not in self._places:
            self._places[line.site] = self._number(line.site), line.site.line
        return self._places[line.site]

    def _number(self, site: Site) -> int:
        around = [each for each in self._ranges.get(site.file, ()) if each[0] <= site.line <= each[1]]
        first, last = max(around, default=(site.line - _NEAR, site.line + _NEAR))
        function = _WITHIN.sub("", site.function) if around else site.function
        key = (site.file, function, first, last)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers)
            self._used.append(set())
        return self._numbers[key]

    def as_data(self) -> list[dict[str, Any]]:
        """For the page."""
        found = []
        for (file, function, first, last), number in self._numbers.items():
            lines = self._sources.get(file, ())
            numbers = range(max(first, 1), min(last, len(lines)) + 1)
            if len(numbers) > _LONG:
                near = {other for line in self._used[number] for other in range(line - _NEAR, line + _NEAR + 1)}
                numbers = [each for each in numbers if each in near or each == first]  # type: ignore[assignment]
            source = [(each, _cut(lines[each - 1])) for each in numbers]
            found.append({"name": function, "file": shown_file(file), "lines": source})
        return found


def _cut(line: str) -> str:
    line = line.rstrip().expandtabs()
    return line if len(line) <= _WIDE else f"{line[:_WIDE]}\N{HORIZONTAL ELLIPSIS}"


def _ranges(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """First and last line of each function, its decorators included."""
    tree = syntax_tree("".join(line if line.endswith("\n") else f"{line}\n" for line in lines))
    if tree is None:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min(each.lineno for each in (node, *node.decorator_list))
            yield first, node.end_lineno or first
