"""Finds where a program draws over lines that it printed before, and what is to be seen there in the end."""

from pathlib import Path

import re2

from hermes import logs
from web.heads import Head
from web.rows import sgr_before
from web.screen import MOST_ROWS, Paint, Screen

_MOVES = re2.compile(rb"\x1b\[[0-9]*[ABEFJ]")
_BEFORE_BYTES = 1 << 16


class Painter:
    """Of one log; takes it from start to end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._paint = Paint()
        self._screen: Screen | None = None

    def take(self, start: int, line: int, data: bytes) -> None:
        """Bytes from `start` on, which is in `line`; at its beginning, unless that is very long."""
        at = 0
        while at < len(data):
            if self._screen is None:
                move = _MOVES.search(data, at)
                if move is None:
                    return
                at = data.rfind(b"\n", 0, move.start()) + 1
                self._screen = self._begin(start + at, line + data.count(b"\n", 0, at))
            end = data.find(b"\n", at)
            self._screen.take(data[at : end if end >= 0 else len(data)].decode("utf-8", "replace"))
            if end < 0:
                return
            self._screen.end_line()
            at = end + 1
            if self._screen.line - self._screen.last_moved > MOST_ROWS:
                self._screen.finish()
                self._screen = None

    def _begin(self, offset: int, line: int) -> Screen:
        """A screen with the lines before this one, as far as a movement could reach."""
        start = max(offset - _BEFORE_BYTES, 0)
        before = logs.read(self._path, start, offset - start).split(b"\n")[:-1]
        if start:
            before = before[1:]
        before = before[-min(MOST_ROWS - 1, line - self._paint.before) :] if line > self._paint.before else []
        first = offset - sum(len(each) + 1 for each in before)
        screen = Screen(self._paint, line - len(before), sgr_before(self._path, first))
        for each in before:
            screen.take(each.decode("utf-8", "replace"))
            screen.end_line()
        return screen

    def view(self, offset: int) -> tuple[Paint, int | None]:
        """What came of it until now, with the line that has no end yet and begins at `offset`; and how many
        lines that takes in while more may be drawn over, else None."""
        if self._screen is None:
            return self._paint, None
        rest = logs.read(self._path, offset, _BEFORE_BYTES)
        if end := rest.find(b"\n") + 1:
            rest = rest[: end - 1]
        screen = self._screen.copy()
        screen.take(rest.decode("utf-8", "replace"))
        lines = screen.line + screen.begun
        paint = screen.finish()
        paint.hidden = [(first, min(last, lines - 1)) for first, last in paint.hidden if first < lines]
        return paint, None if logs.end_offset(self._path) is not None else lines


def paint_heads(paint: Paint) -> list[Head]:
    """One for each range of lines that have no row of their own: it can be unfolded."""
    return [
        Head(f"paint-{first}", _words(last - first + 1), first + 1, last=last + 1, folded=True)
        for first, last in paint.hidden
    ]


def _words(lines: int) -> str:
    return "1 line drew over those above" if lines == 1 else f"{lines:,} lines drew over those above"
