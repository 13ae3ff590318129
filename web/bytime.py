"""The lines of several ranks in the order in which they were printed.

The index of a log says when its bytes came (to 50 ms), so the order is one of pieces of lines, not of lines.
It only grows: what is read later comes later, so rows keep their numbers while the ranks go on. It is
bounded; beyond that the oldest lines are left out."""

import secrets
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hermes import logs
from hermes.logs import RECORD, index_path
from hermes.marks import LineMark, line_marks, time_at
from web.heads import Head
from web.lines import LineIndex, PerLog
from web.ranklog import Piece, RankLog, Rows

MOST_BYTES = 256 << 20  # of all ranks together that are read at first
MOST_PIECES = 400_000  # that are kept, of about 20 bytes each
_CHUNK_BYTES = 1 << 20


class _Timed(NamedTuple):
    at: float
    rank: int
    first: int
    lines: int


@dataclass
class _Log:
    """How far one log is read."""

    rank: int
    path: Path
    offset: int
    line: int  # the one that goes on at `offset`, or begins there
    at: float = 0.0  # when it began
    begins: bool = True  # whether it begins there
    over: bool = False

    def read(self) -> list[_Timed]:
        """The lines that are whole since the last time; the last one, too, when the log has ended."""
        if self.over:
            return []
        ended = logs.end_offset(self.path)
        found: list[_Timed] = []
        while data := logs.read(self.path, self.offset, _CHUNK_BYTES):
            found += self._timed(data)
        if ended is not None and self.offset >= ended:
            self.over = True
            if not self.begins:
                found.append(_Timed(self.at, self.rank, self.line, 1))
        return found

    def _timed(self, data: bytes) -> list[_Timed]:
        whole = data.count(b"\n")
        marks = line_marks(self.path, self.offset, data, self.begins)
        begins = marks if self.begins and marks and marks[0].line == 0 else [LineMark(0, self.at, 0)]
        if begins is not marks:
            begins += [mark if mark.line or self.begins else mark._replace(line=1) for mark in marks]
        ends = [*(mark.line for mark in begins[1:]), whole + 1]
        found = []
        for mark, end in zip(begins, ends, strict=True):
            if mark.line <= whole:
                self.at = max(self.at, mark.at)
            if (count := min(end, whole) - mark.line) > 0:
                found.append(_Timed(self.at, self.rank, self.line + mark.line, count))
        self.offset += len(data)
        self.line += whole
        self.begins = data.endswith(b"\n")
        return found


class ByTime:
    """An order (`web.ranklog`). Behind the firm rows come lines that have no end yet, one for each rank."""

    def __init__(self, indexes: PerLog[LineIndex], most_pieces: int = MOST_PIECES) -> None:
        self._indexes, self._most_pieces = indexes, most_pieces
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._generation = secrets.token_hex(4)
        self._firm = self._total = 0
        self._left_out = False
        self._logs: dict[int, _Log] = {}
        self._ranks, self._firsts, self._starts = array("L"), array("Q"), array("Q")  # of the pieces
        self._open: list[Piece] = []

    def take(self, ranks: list[RankLog]) -> None:
        """Read on; all anew if a rank began another attempt."""
        with self._lock:
            if any(rank.number in self._logs and self._logs[rank.number].path != rank.path for rank in ranks):
                self._forget()
            since = self._begin([rank for rank in ranks if rank.number not in self._logs], len(ranks))
            found = [timed for log in self._logs.values() for timed in log.read() if timed.at >= since]
            for timed in sorted(found):
                self._add(timed)
            if len(self._ranks) > self._most_pieces:
                self._shorten()
            self._open = [
                Piece(log.rank, log.line, 1) for log in self._logs.values() if not log.begins and not log.over
            ]
            self._total = self._firm + len(self._open)

    def _begin(self, fresh: list[RankLog], among: int) -> float:
        """Start to read these; the time from which on all of them are read."""
        since = 0.0
        for rank in fresh:
            if not logs.size_bytes(rank.path):
                continue  # its attempt may have another number when it begins
            offset = _start(rank.path, self._most_pieces // 2 // among, MOST_BYTES // among)
            log = _Log(rank.number, rank.path, offset, self._indexes.of(rank.path).lines_before(offset))
            self._logs[rank.number] = log
            if offset:
                self._left_out = True
                since = max(since, time_at(rank.path, offset) or 0.0)
        return since

    def _add(self, timed: _Timed) -> None:
        last = len(self._ranks) - 1
        follows = last >= 0 and self._ranks[last] == timed.rank
        if not follows or self._firsts[last] + self._firm - self._starts[last] != timed.first:
            self._ranks.append(timed.rank)
            self._firsts.append(timed.first)
            self._starts.append(self._firm)
        self._firm += timed.lines

    def _shorten(self) -> None:
        """Half is left out; the others get new rows."""
        half = len(self._ranks) - self._most_pieces // 2
        rows = self._starts[half]
        self._ranks, self._firsts = self._ranks[half:], self._firsts[half:]
        self._starts = array("Q", (start - rows for start in self._starts[half:]))
        self._firm -= rows
        self._left_out = True
        self._generation = secrets.token_hex(4)

    def rows(self, first: int, count: int) -> Rows:
        """So many from `first` on; before 0: from the end."""
        with self._lock:
            first = max(self._total + first, 0) if first < 0 else first
            found = self._pieces(first, min(first + count, self._firm))
            found += self._open[max(first - self._firm, 0) : max(first + count - self._firm, 0)]
            return Rows(self._generation, first, self._total, self._firm, self._left_out, found)

    def _pieces(self, row: int, end: int) -> list[Piece]:
        at = max(bisect_right(self._starts, row) - 1, 0)
        found = []
        while row < end:
            stop = min(self._end(at), end)
            found.append(Piece(self._ranks[at], self._firsts[at] + row - self._starts[at], stop - row))
            row, at = stop, at + 1
        return found

    def _end(self, at: int) -> int:
        return self._starts[at + 1] if at + 1 < len(self._starts) else self._firm

    def rows_of(self, lines: Mapping[int, list[int]]) -> list[int]:
        """Where lines are, that are given in order by rank."""
        with self._lock:
            rows: list[int] = []
            for at, (rank, first) in enumerate(zip(self._ranks, self._firsts, strict=True)):
                if of_rank := lines.get(rank):
                    end = self._end(at)
                    here = of_rank[
                        bisect_left(of_rank, first) : bisect_left(of_rank, first + end - self._starts[at])
                    ]
                    rows += [self._starts[at] + line - first for line in here]
            still = [
                self._firm + at
                for at, each in enumerate(self._open)
                if each.first in lines.get(each.rank, ())
            ]
            return rows + still

    def heads(self) -> list[Head]:
        """None: the ranks take turns."""
        return []


def _start(path: Path, most_pieces: int, most_bytes: int) -> int:
    """Where to begin with a log: at its start, unless that is too far back."""
    offset = max(logs.size_bytes(path) - most_bytes, 0)
    records = logs.size_bytes(index_path(path)) // RECORD.size
    if (skip := records - most_pieces) > 0:
        record = logs.read(index_path(path), skip * RECORD.size, RECORD.size)
        offset = max(offset, int(RECORD.unpack(record)[0]))
    if not offset:
        return 0
    return offset + logs.read(path, offset, _CHUNK_BYTES).find(b"\n") + 1
