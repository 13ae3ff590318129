"""What a viewer that shows a part of a live log must know of each piece: which line it is in, and when."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hermes import logs
from hermes.marks import line_marks
from hermes.threads import in_thread
from web.feed import Position
from web.lines import LineIndex, PerLog
from web.rows import sgr_before

_MOST_BEHIND_BYTES = 1 << 20
_NEAR_BYTES = 1 << 18


class Reached(NamedTuple):
    """Where a viewer is; so many line ends lie before it; whether a line begins there."""

    position: Position
    line: int
    begins_line: bool


class Numbered:
    """Tells of the pieces of the logs of one subject."""

    def __init__(self, log_of: Callable[[int], Path], indexes: PerLog[LineIndex]) -> None:
        self._log_of = log_of
        self._indexes = indexes

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

    async def about(self, at: Position, data: bytes, place: Reached | None) -> tuple[dict[str, Any], Reached]:
        """Of `data`, which lies there, for who is at `place`; and the place after it. `line` (from 1) is that
        of the first byte; `sgr` is there where the stream begins or skipped."""
        log = self._log_of(at.attempt)
        told: dict[str, Any] = {}
        if place is None or place.position != at:
            line = await in_thread(self._indexes.of(log).lines_before, at.offset)
            begins_line = at.offset == 0 or logs.read(log, at.offset - 1, 1) == b"\n"
            told["sgr"] = sgr_before(log, at.offset)
        else:
            line, begins_line = place.line, place.begins_line
        told["line"] = line + 1
        told["begins"] = begins_line
        told["marks"] = [list(mark) for mark in line_marks(log, at.offset, data, begins_line)]
        after = Position(at.attempt, at.offset + len(data))
        return told, Reached(after, line + data.count(b"\n"), data.endswith(b"\n"))
