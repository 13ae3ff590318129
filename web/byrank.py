"""The logs of several ranks one after another, each below a head."""

import secrets
import threading
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate

from hermes import logs
from web.heads import Head
from web.lines import LineIndex, PerLog
from web.ranklog import Piece, RankLog, Rows


class ByRank:
    """An order (`web.ranklog`). Rows are firm up to the first rank whose log goes on."""

    def __init__(self, indexes: PerLog[LineIndex]) -> None:
        self._generation = secrets.token_hex(4)
        self._firm = self._total = 0
        self._indexes = indexes
        self._ranks: list[RankLog] = []
        self._starts = [0]  # the first row of each rank, and the one after all
        self._lock = threading.Lock()

    def take(self, ranks: list[RankLog]) -> None:
        """Count what there is now."""
        ended = [logs.end_offset(rank.path) is not None for rank in ranks]  # before counting
        counts = [self._lines(rank) for rank in ranks]
        with self._lock:
            self._ranks = ranks
            self._starts = [0, *accumulate(counts)]
            self._total = self._starts[-1]
            self._firm = self._starts[next((at for at, over in enumerate(ended) if not over), len(ranks))]

    def _lines(self, rank: RankLog) -> int:
        size = logs.size_bytes(rank.path)
        has_rest = size > 0 and logs.read(rank.path, size - 1, 1) != b"\n"
        return self._indexes.of(rank.path).lines_before(size) + has_rest

    def rows(self, first: int, count: int) -> Rows:
        """So many from `first` on; before 0: from the end."""
        with self._lock:
            first = max(self._total + first, 0) if first < 0 else first
            found = self._pieces(first, min(first + count, self._total))
            return Rows(self._generation, first, self._total, self._firm, False, found)

    def _pieces(self, row: int, end: int) -> list[Piece]:
        at = max(bisect_right(self._starts, row) - 1, 0)
        found = []
        while row < end:
            stop = min(self._starts[at + 1], end)
            if stop > row:
                found.append(Piece(self._ranks[at].number, row - self._starts[at], stop - row))
            row, at = max(stop, row), at + 1
        return found

    def rows_of(self, lines: Mapping[int, list[int]]) -> list[int]:
        """Where lines are, that are given in order by rank."""
        with self._lock:
            return [
                start + line
                for rank, start, end in zip(self._ranks, self._starts, self._starts[1:], strict=False)
                for line in lines.get(rank.number, ())
                if line < end - start
            ]

    def heads(self) -> list[Head]:
        """One for each rank."""
        with self._lock:
            return [
                Head(str(rank.number), f"Rank {rank.number}", start + 1, note=rank.words)
                for rank, start in zip(self._ranks, self._starts, strict=False)
            ]
