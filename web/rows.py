"""Some lines of a log with their numbers, times and streams, for a viewer that shows a part of it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermes import logs
from hermes.marks import line_marks
from web.lines import LineIndex

MOST_LINES = 1000
MOST_BYTES = 1 << 20
LINE_BYTES = 1 << 14  # of a longer line a part is shown: its start, or what a terminal would show last
_BEFORE_BYTES = 1 << 16
_SGR = re.compile(rb"\x1b\[([0-9;:]*)m")
_MOST_SGR = 64


@dataclass(frozen=True)
class Rows:
    """`first` is counted from 0; `sgr` are the escapes in force there; `cut` has sizes by place."""

    first: int
    total: int
    next_offset: int  # where the first line begins that is not whole, or not among these
    ended: bool
    sgr: str
    lines: list[str]
    marks: list[list[float]]
    cut: dict[int, int]

    def as_json(self, attempt: int) -> dict[str, Any]:
        """Line numbers as people count them, from 1."""
        return {
            "attempt": attempt,
            "first": self.first + 1,
            "total": self.total,
            "next": f"{attempt}.{self.next_offset}",
            "ended": self.ended,
            "sgr": self.sgr,
            "lines": self.lines,
            "marks": self.marks,
            "cut": self.cut,
        }


def sgr_before(path: Path, offset: int) -> str:
    """The colours and styles in force at `offset`, as the escapes that set them since the last reset.

    Looks back 64 KiB: who printed more than that in one colour sees it from the next change on."""
    start = max(0, offset - _BEFORE_BYTES)
    set_since: list[bytes] = []
    for match in _SGR.finditer(logs.read(path, start, offset - start)):
        if match[1].strip(b"0;") == b"":
            set_since.clear()
        else:
            set_since.append(match[0])
    return b"".join(set_since[-_MOST_SGR:]).decode()


def shown_part(line: bytes) -> bytes:
    """Of a line that is too long: its last state if it was drawn anew by carriage returns, else its start."""
    if len(line) <= LINE_BYTES:
        return line
    redrawn = line.find(b"\r", len(line) - LINE_BYTES, len(line) - 1)
    return line[redrawn + 1 :] if redrawn >= 0 else line[:LINE_BYTES]


def read_rows(path: Path, index: LineIndex, first: int, count: int, most_bytes: int = MOST_BYTES) -> Rows:
    """Up to `count` lines from `first` on (before 0: so many from the end), fewer if large. Blocks."""
    size, ended = logs.size_bytes(path), logs.end_offset(path) is not None
    complete = index.lines_before(size)
    total = complete + (size > 0 and logs.read(path, size - 1, 1) != b"\n")
    first = _from_end(index, size, total, first) if first < 0 else min(first, total)
    start = index.start_of(first)
    data = logs.read(path, start, most_bytes)[: size - start]
    *pieces, rest = data.split(b"\n")
    if rest and not pieces and start + len(data) < size:  # a line that is longer than what was read
        end = index.start_of(first + 1) - 1 if first < complete else size
        pieces, sizes = [rest[:LINE_BYTES] + logs.read(path, end - LINE_BYTES, LINE_BYTES)], [end - start]
    else:
        pieces = ([*pieces, rest] if rest and start + len(data) == size else pieces)[:count]
        sizes = [len(piece) for piece in pieces]
    whole = sizes[: complete - first]
    marks = line_marks(path, start, data[: sum(sizes) + len(sizes)], begins_line=True)
    return Rows(
        first, total, start + sum(whole) + len(whole), ended, sgr_before(path, start),
        [shown_part(piece).decode("utf-8", "replace") for piece in pieces],
        [list(mark) for mark in marks],
        {at: each for at, each in enumerate(sizes) if each > LINE_BYTES},
    )  # fmt: skip


def _from_end(index: LineIndex, size: int, total: int, count: int) -> int:
    """The first of the last `-count` lines, of so many as one answer holds."""
    first = max(total + count, 0)
    if size > MOST_BYTES:
        first = max(first, min(index.lines_before(size - MOST_BYTES) + 1, total - 1))
    return first
