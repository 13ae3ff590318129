"""What a viewer that shows a part of a live log must know of each piece: which line it is in, and when."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hermes import logs
from hermes.marks import line_marks
from hermes.threads import in_thread
from web.feed import Position, Printed
from web.lines import LineIndex, PerLog
from web.rows import sgr_before

_MOST_BEHIND_BYTES = 1 << 20
_NEAR_BYTES = 1 << 18


class Numbered:
    """Tells of the pieces of one stream, in order."""

    def __init__(self, log_of: Callable[[int], Path], indexes: PerLog[LineIndex]) -> None:
        self._log_of = log_of
        self._indexes = indexes
        self._next = Position(0, -1)
        self._line = 0
        self._begins_line = True

    async def near_end(self, after: Position | None) -> Position | None:
        """Who is far behind goes on near the end: a viewer has what lies between by its line numbers."""
        if after is None:
            return None
        log = self._log_of(after.attempt)
        size = logs.size_bytes(log)
        if size - after.offset <= _MOST_BEHIND_BYTES:
            return after
        start = size - _NEAR_BYTES
        return Position(after.attempt, start + logs.read(log, start, _NEAR_BYTES).find(b"\n") + 1)

    async def about(self, item: Printed) -> dict[str, Any]:
        """`line` (from 1) is that of the first byte; `sgr` is there where the stream begins or skipped."""
        log = self._log_of(item.attempt)
        start = item.offset - len(item.data)
        told: dict[str, Any] = {}
        if self._next != Position(item.attempt, start):
            self._line = await in_thread(self._indexes.of(log).lines_before, start)
            self._begins_line = start == 0 or logs.read(log, start - 1, 1) == b"\n"
            told["sgr"] = sgr_before(log, start)
        told["line"] = self._line + 1
        told["begins"] = self._begins_line
        told["marks"] = [list(mark) for mark in line_marks(log, start, item.data, self._begins_line)]
        self._next = Position(item.attempt, item.offset)
        self._line += item.data.count(b"\n")
        self._begins_line = item.data.endswith(b"\n")
        return told
