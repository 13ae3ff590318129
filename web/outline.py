"""The groups and stages of a log, which a viewer can fold, and what compilers and checkers complain of.

Groups as GitHub's `::group::title` … `::endgroup::` and Buildkite's `--- title` (folded), `+++ title` (open).
Read once from start to end, and on from there when the log has grown."""

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import re2

from hermes import logs
from hermes.marks import time_at, times
from web.diagnostics import CANDIDATES, Diagnostic, read_diagnostic, read_frame
from web.heads import Head, stage_heads
from web.lines import LineIndex
from web.painter import Painter, paint_heads
from web.terminal import without_escapes

MOST_GROUPS, MOST_DIAGNOSTICS = 1000, 200
_LIMIT_S = 3.0
_CHUNK_BYTES = 1 << 20
_MOST_TITLE = 200
_REPORT_LINES = 40  # how far below its first line a report may name its place
_MARKED = re2.compile(rf"(?m)^(?:::(?:end)?group::|--- |\+\+\+ |~~~ |{CANDIDATES})".encode())


@dataclass
class Group:
    """Lines `first` (its title) to `last`, counted from 0; `last` is None while it is open."""

    title: str
    first: int
    expanded: bool
    last: int | None = None
    took_s: float | None = None


@dataclass(frozen=True)
class Seen:
    """What viewers are told. `drawn` is how lines look that later ones have drawn over (`web.screen`), by
    number; `drawn_to`: so many lines were looked at, and those that follow may draw over them."""

    groups: list[Group]
    heads: list[Head]
    drawn: dict[int, str]
    drawn_to: int | None
    counts: dict[str, int]
    diagnostics: list[Diagnostic]
    whole: bool

    def as_json(self) -> dict[str, Any]:
        """Line numbers as people count them, from 1."""
        return {
            "groups": [
                {
                    "title": each.title,
                    "first": each.first + 1,
                    "last": None if each.last is None else each.last + 1,
                    "expanded": each.expanded,
                    "took_s": each.took_s,
                }
                for each in self.groups
            ],
            "heads": [head.as_json() for head in self.heads],
            "drawn": list(self.drawn.items()),
            "drawn_to": self.drawn_to,
            "counts": self.counts,
            "diagnostics": [each.as_json() for each in self.diagnostics],
            "whole": self.whole,
        }


@dataclass
class Outline:
    """Of one log. Thread-safe; blocks."""

    path: Path
    groups: list[Group] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    painter: Painter = field(init=False)
    _offset: int = 0
    _line: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.painter = Painter(self.path)

    def look(self, index: LineIndex) -> "Seen":
        """As far as the log goes now; `whole` says whether time was enough for all of it."""
        with self._lock:
            whole = self._read_on()
            for group in self.groups:
                if group.took_s is None:
                    group.took_s = self._took_s(group, index)
            paint, drawn_to = self.painter.view(self._offset)
            heads = sorted([*stage_heads(self.path, index), *paint_heads(paint)], key=lambda head: head.first)
            drawn = {line + 1: text for line, text in paint.rows.items()}
            groups, found = [replace(group) for group in self.groups], list(self.diagnostics)
            return Seen(groups, heads, drawn, drawn_to, dict(self.counts), found, whole)

    def _took_s(self, group: Group, index: LineIndex) -> float | None:
        """From its title to the line after it, or to the end of a log that has ended."""
        began = time_at(self.path, index.start_of(group.first))
        ended = None
        if group.last is not None:
            ended = time_at(self.path, index.start_of(group.last + 1))
        if ended is None and logs.end_offset(self.path) is not None and (span := times(self.path)):
            ended = span[1]
        return None if began is None or ended is None else round(max(ended - began, 0.0), 3)

    def _read_on(self) -> bool:
        until = time.monotonic() + _LIMIT_S
        while data := logs.read(self.path, self._offset, _CHUNK_BYTES):
            end = data.rfind(b"\n") + 1
            if not end and len(data) < _CHUNK_BYTES and logs.end_offset(self.path) is None:
                break  # a line that is not whole yet
            data = data[: end or len(data)]
            self.painter.take(self._offset, self._line, data)
            self._take(without_escapes(data))
            self._offset += len(data)
            if time.monotonic() > until:
                return False
        return True

    def _take(self, data: bytes) -> None:
        at, line, diff_line = 0, 0, -2
        for match in _MARKED.finditer(data):
            line += data.count(b"\n", at, match.start())
            at = match.start()
            end = data.find(b"\n", at)
            text = data[at : end if end >= 0 else len(data)][:4096].decode("utf-8", "replace").rstrip()
            if text.startswith("--- ") and data[end + 1 : end + 5] == b"+++ ":
                diff_line = line  # the head of a diff is two lines
            elif line != diff_line + 1 and not self._group(text, self._line + line):
                self._diagnostic(text, self._line + line)
        self._line += data.count(b"\n")

    def _group(self, text: str, line: int) -> bool:
        """Whether the line begins or ends a group."""
        if text.startswith("::endgroup::"):
            if self.groups and self.groups[-1].last is None:
                self.groups[-1].last = line
            return True
        expanded = text.startswith("+++ ")
        if not expanded and not text.startswith(("::group::", "--- ", "~~~ ")):
            return False
        if self.groups and self.groups[-1].last is None:
            self.groups[-1].last = line - 1
        if len(self.groups) < MOST_GROUPS:
            title = text.removeprefix("::group::") if text[0] == ":" else text[4:]
            self.groups.append(Group(title.strip()[:_MOST_TITLE] or "(no title)", line, expanded))
        return True

    def _diagnostic(self, text: str, line: int) -> None:
        last = self.diagnostics[-1] if self.diagnostics else None
        if last and not last.file and line - last.at_line <= _REPORT_LINES and (place := read_frame(text)):
            last.file, last.line = place
            return
        found = read_diagnostic(text, line)
        if found is None:
            return
        self.counts[found.severity] = self.counts.get(found.severity, 0) + 1
        if len(self.diagnostics) < MOST_DIAGNOSTICS:
            self.diagnostics.append(found)
