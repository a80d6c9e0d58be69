"""Line numbers as reports show them: bare for the main file, after the name of the file for others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from .model import RunView
from .source import Line


def file_of(run: RunView) -> str:
    """Return the file whose lines are shown as bare numbers: the one of which most lines were executed."""
    files = Counter(line.site.file for step in run.steps for line in step.lines)
    return next((file for file, _ in files.most_common(1)), "")


def number_of(line: Line, file: str, digits: int = 0) -> str:
    """Return the number of a line, after the name of its file unless that is `file`."""
    if line.site.file == file:
        return f"{line.site.line:{digits}}"
    path = Path(line.site.file)
    return f"{path.parent.name if path.stem == '__init__' else path.stem}:{line.site.line}"


def numbers_of(lines: tuple[Line, ...], file: str) -> str:
    """Return ``31-33, 40``: the lines of the outermost function, with ascending lines as one range."""
    ranges: list[list[Line]] = []
    outermost = min(line.depth for line in lines)
    for line in lines:
        if line.depth > outermost:
            continue
        last = ranges[-1][-1] if ranges else None
        if last and last.site.function == line.site.function and last.site.line < line.site.line:
            ranges[-1].append(line)
        else:
            ranges.append([line])
    return ", ".join(number_of(each[0], file) + (f"-{each[-1].site.line}" if len(each) > 1 else "") for each in ranges)
