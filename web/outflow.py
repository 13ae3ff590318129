"""The streams of a run's ranks, told apart, as they are written: stdout from results, stderr from logs."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hermes import logs
from hermes.paths import Paths
from hermes.states import LIVE, TERMINAL
from web.outcome import RankSight, Watched

_PIECE_BYTES = 1 << 18
_PAUSES_S = ((0.5, 0.01), (5.0, 0.05))  # (until so long after the last byte, every so often), then:
_LONGEST_PAUSE_S = 0.25
_WAITING_S = 1.0
_ALIVE_S = 15.0


class Wrote(NamedTuple):
    """Bytes of `stream` (hermes.logs.STDOUT or STDERR) of a rank."""

    rank: int
    stream: int
    data: bytes


class Told(NamedTuple):
    """Something else that happened: {"event": …}."""

    about: dict[str, Any]


Piece = Wrote | Told


class Had(NamedTuple):
    """What a reader has of the streams of a rank, all of this attempt."""

    attempt: int
    stdout_bytes: int
    stderr_bytes: int


@dataclass
class _Cursor:
    """How far one rank was read; `left_out` bytes of its stderr are not said."""

    paths: Paths
    attempt: int = 0
    stdout_at: int = 0
    left_out: int = 0
    stdout: int = -1  # a descriptor
    log_at: int = 0
    index_at: int = 0
    stream: int = logs.MIXED

    def read(self, rank: RankSight) -> Iterator[Piece]:
        """What is there now, a piece of each stream."""
        if rank.attempt != self.attempt:
            had = self.stdout_at + self.log_at + self.left_out
            self.close()
            self.attempt = rank.attempt
            self.stdout_at = self.log_at = self.index_at = self.left_out = 0
            if had:
                yield Told({"event": "attempt", "rank": rank.number, "attempt": rank.attempt})
        if not self.attempt:
            return
        if data := self._stdout(rank):
            yield Wrote(rank.number, logs.STDOUT, data)
        for data in self._stderr(rank):
            fresh = data[self.left_out :]
            self.left_out -= len(data) - len(fresh)
            if fresh:
                yield Wrote(rank.number, logs.STDERR, fresh)

    def close(self) -> None:
        if self.stdout >= 0:
            os.close(self.stdout)
            self.stdout = -1

    def _stdout(self, rank: RankSight) -> bytes:
        if self.stdout < 0:
            with suppress(FileNotFoundError):
                self.stdout = os.open(self.paths.result(rank.id, self.attempt), os.O_RDONLY)
        if self.stdout < 0:
            return b""
        data = os.pread(self.stdout, _PIECE_BYTES, self.stdout_at)
        self.stdout_at += len(data)
        return data

    def _stderr(self, rank: RankSight) -> Iterator[bytes]:
        """All that is not stdout: what we say in the log, too. Its size first: what is below it is marked."""
        log = self.paths.log("rank", rank.id, self.attempt)
        size = min(logs.size_bytes(log), self.log_at + _PIECE_BYTES)
        if size == self.log_at:
            return
        marks = list(logs.RECORD.iter_unpack(self._marks(logs.index_path(log))))
        for number, (offset, _at, stream) in enumerate(marks):
            if offset >= size:
                self.index_at += number * logs.RECORD.size
                break
            yield from self._part(log, offset)
            self.stream = stream
        else:
            self.index_at += len(marks) * logs.RECORD.size
        yield from self._part(log, size)

    def _marks(self, index: Path) -> bytes:
        with index.open("rb") as file:
            file.seek(self.index_at)
            data = file.read()
        return data[: len(data) - len(data) % logs.RECORD.size]

    def _part(self, log: Path, end: int) -> Iterator[bytes]:
        if end > self.log_at:
            if self.stream != logs.STDOUT:
                yield logs.read(log, self.log_at, end - self.log_at)
            self.log_at = end


@dataclass
class Outflow:
    """Follows some ranks of a run that somebody watches, or all."""

    paths: Paths
    watched: Watched
    closing: asyncio.Event
    cursors: dict[int, _Cursor] = field(default_factory=dict)

    def leave_out(self, rank: int, had: Had) -> None:
        """A reader has so much of it already, unless it begins again."""
        self.cursors[rank] = _Cursor(self.paths, *had)

    async def pieces(self, only: int | None = None) -> AsyncGenerator[Piece]:
        """To the end of those ranks; if the service stops before, the last is Told {"event": "reconnect"}."""
        quiet_since = told_at = time.monotonic()
        try:
            while True:
                ranks = [rank for rank in self.watched.ranks if only in (None, rank.number)]
                is_over, was_quiet = all(rank.state in TERMINAL for rank in ranks), True
                for piece in self._read(ranks):
                    was_quiet, quiet_since = False, time.monotonic()
                    yield piece
                if not was_quiet:
                    continue
                if is_over:
                    return
                if self.closing.is_set():
                    yield Told({"event": "reconnect"})
                    return
                if (now := time.monotonic()) - max(told_at, quiet_since) >= _ALIVE_S:
                    told_at = now
                    yield Told({"event": "alive"})
                await self._pause(ranks, now - quiet_since)
        finally:
            for cursor in self.cursors.values():
                cursor.close()

    def _read(self, ranks: Sequence[RankSight]) -> Iterator[Piece]:
        for rank in ranks:
            if rank.number not in self.cursors:
                self.cursors[rank.number] = _Cursor(self.paths)
            yield from self.cursors[rank.number].read(rank)

    async def _pause(self, ranks: Sequence[RankSight], quiet_s: float) -> None:
        """Until a state changes; soon, if one of them may write meanwhile."""
        pause_s = _WAITING_S
        if any(rank.state in LIVE for rank in ranks):
            pause_s = next((every for until, every in _PAUSES_S if quiet_s < until), _LONGEST_PAUSE_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self.watched.changed.wait()
        self.watched.changed.clear()
