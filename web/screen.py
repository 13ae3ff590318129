"""What programs draw over lines that they printed before (progress of docker-compose, several bars of tqdm).

A screen is the newest rows of a log. A movement between lines (CSI A B E F, and J below the cursor) leads to
an earlier row, which later bytes overwrite; a line end leads to the row below. Each row keeps the number of
the line that first wrote on it; a line that has written only on rows of others has none. Other movements
(H, whole screens) are left out: what was printed before would be gone."""

from copy import copy
from dataclasses import dataclass, field, replace

from web.terminal import HIDDEN, TOKEN, Row

MOST_ROWS = 64  # that a movement reaches
MOST_PAINTED = 1000
_MOST_SGR = 200
_MOST_SHOWN = 1024  # columns of a row that was drawn over


@dataclass
class _Drawn:
    line: int  # the number of the line that it is shown as
    row: Row = field(default_factory=Row)
    written: bool = False
    over: bool = False  # whether it looks other than its line alone


@dataclass
class Paint:
    """What came of it: how lines (counted from 0) that were drawn over look in the end, as text with colours,
    and the ranges of lines that have no row. The newest only."""

    rows: dict[int, str] = field(default_factory=dict)
    hidden: list[tuple[int, int]] = field(default_factory=list)
    before: int = 0  # the next line that is looked at

    def row(self, drawn: _Drawn) -> None:
        """The next row."""
        self.gap(drawn.line)
        self.before = drawn.line + 1
        if drawn.over:
            self.rows[drawn.line] = _text(drawn)
            if len(self.rows) > MOST_PAINTED:
                del self.rows[next(iter(self.rows))]

    def gap(self, line: int) -> None:
        """All lines before this one that were not looked at have no row."""
        if line > self.before:
            self.hidden.append((self.before, line - 1))
            del self.hidden[:-MOST_PAINTED]
            self.before = line


class Screen:
    """Takes lines in order, from `line` on; `sgr` are the colours in force there. Adds to `paint`."""

    def __init__(self, paint: Paint, line: int, sgr: str = "") -> None:
        self.line = line
        self.begun = False  # whether this line has anything yet
        self.last_moved = line  # the last line that was not simply below the one before
        self._paint = paint
        paint.before = line
        self._sgr = sgr
        self._rows = [_Drawn(line)]
        self._at = 0

    def take(self, text: str) -> None:
        """The next line, or a part of it, without its end."""
        self.begun |= bool(text)
        for match in TOKEN.finditer(text.removesuffix("\r")):
            here = self._rows[self._at]
            if match[2] == "m":
                self._colour(match[0], match[1])
            elif match[2] and match[2] in "ABEFJ":
                self._move(match[1], match[2])
            elif match[2]:
                here.row.control(match[1], match[2])
                here.over |= here.line != self.line and match[2] == "K"
            elif match[3]:
                here.row.at = 0 if match[3] == "\r" else max(here.row.at - 1, 0)
            elif match[4]:
                self._write(HIDDEN.sub("\ufffd", match[4]))

    def end_line(self) -> None:
        """The line has its end."""
        self.line, self.begun = self.line + 1, False
        if self._at + 1 < len(self._rows):
            self._go(1)
            self.last_moved = self.line
            self._rows[self._at].row.at = 0
            return
        self._rows.append(_Drawn(self.line))
        self._at += 1
        if len(self._rows) > MOST_ROWS:
            self._paint.row(self._rows.pop(0))
            self._at -= 1

    def copy(self) -> "Screen":
        """Another one that goes its own way."""
        other = copy(self)
        other._paint = replace(self._paint, rows=dict(self._paint.rows), hidden=list(self._paint.hidden))
        other._rows = [replace(each, row=Row(list(each.row.cells), each.row.at)) for each in self._rows]
        return other

    def finish(self) -> Paint:
        """What came of it until now; the screen is not to be used any more."""
        for drawn in (
            self._rows if self._rows[-1].written else self._rows[:-1]
        ):  # that is where text would go on
            self._paint.row(drawn)
        self._paint.gap(self.line + self.begun)
        return self._paint

    def _colour(self, escape: str, codes: str) -> None:
        before = "" if len(self._sgr) > _MOST_SGR else self._sgr
        self._sgr = before + escape if codes.strip("0;") else ""

    def _move(self, parameters: str, final: str) -> None:
        number = max(int(parameters), 1) if parameters.isdecimal() and len(parameters) < 6 else 1
        if final == "J":
            if parameters in ("", "0"):
                self._erase_below()
            return
        self._rows[self._at].over = True  # its line goes on elsewhere
        self._go(number if final in "BE" else -number)
        self.last_moved = self.line
        if final in "EF":
            self._rows[self._at].row.at = 0

    def _go(self, rows: int) -> None:
        column = self._rows[self._at].row.at
        self._at = min(max(self._at + rows, 0), len(self._rows) - 1)
        self._rows[self._at].row.at = column

    def _erase_below(self) -> None:
        self._rows[self._at].row.control("", "K")
        for drawn in self._rows[self._at + 1 :]:
            drawn.row.cells.clear()
            drawn.over = True

    def _write(self, text: str) -> None:
        here = self._rows[self._at]
        if not here.written and self._may_be(self.line):
            here.line = self.line
        here.written = True
        here.over |= here.line != self.line
        here.row.write(text, self._sgr)

    def _may_be(self, line: int) -> bool:
        """Whether the row at the cursor can be shown as this line: numbers go up."""
        below = self._rows[self._at + 1].line if self._at + 1 < len(self._rows) else line + 1
        above = self._rows[self._at - 1].line if self._at else -1
        return above < line < below


def _text(drawn: _Drawn) -> str:
    cells = drawn.row.cells[:_MOST_SHOWN]
    return "".join(f"\x1b[m{span.style}{span.text}" for span in Row(cells).spans())
