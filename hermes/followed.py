"""Logs that are followed: one look at each for all who follow it, one read of each new piece.

Who follows a log keeps an offset and a bell, nothing else: no piece waits for anybody. Those who are at the
same place get the same piece; one who is behind reads for itself, up to where a shared piece begins.
The kernel says when to look (`hermes.writes`); where it cannot, the clock does."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hermes import logs
from hermes.queue import Bell
from hermes.writes import Writes

_LOOKS_S = ((0.5, 0.01), (5.0, 0.05))  # (until so long after the last byte, every so often), then:
_LOOK_IDLE_S = 0.25
_LOOK_TOLD_S = 1.0  # in case that the kernel did not tell
_REST = 10  # times as long as looking took, before the next looks: at most a tenth of a core
_GATHER_S, _GATHER_EACH_S = 0.01, 0.0001  # for which the kernel's words gather; longer with each log
_PACE_S, _MOST_PACE_S = 0.0006, 0.5  # between two pieces, for each who follows here: the next gathers more


class Piece:
    """Bytes of a log, the same object for all who are at its start."""

    def __init__(self, start: int, data: bytes) -> None:
        self.start, self.data = start, data
        self.shared: dict[Any, Any] = {}  # what its readers made of it and may have in common

    @property
    def end(self) -> int:
        """The offset after it."""
        return self.start + len(self.data)


class Followed:
    """One log, as it was when it was last looked at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bells: set[Bell] = set()
        self.size_bytes = 0
        self.has_ended = False  # at this size
        self.is_told = False  # the kernel says when it is written
        self.due = self.not_before = 0.0  # the next look
        self._log, self._index = str(path), str(logs.index_path(path))
        self._index_bytes = 0
        self._grew_at = time.monotonic()
        self._before = self._newest = Piece(0, b"")

    def look(self, now: float) -> bool:
        """Whether there is more of it, or its end."""
        ended, size_bytes = self.has_ended, self.size_bytes
        if not ended and (index_bytes := _size(self._index)) != self._index_bytes:
            self._index_bytes = index_bytes
            self.has_ended = logs.end_offset(self.path) is not None  # first: nothing is written after it
        self.size_bytes = _size(self._log)
        if self.size_bytes > size_bytes:
            self._grew_at = now
        quiet_s = now - self._grew_at
        every_s = next((every_s for until_s, every_s in _LOOKS_S if quiet_s < until_s), _LOOK_IDLE_S)
        self.due = now + (_LOOK_TOLD_S if self.is_told or self.has_ended else every_s)
        return self.size_bytes > size_bytes or self.has_ended != ended

    def piece(self, offset: int) -> Piece | None:
        """What lies at `offset`; None: nothing (yet)."""
        for known in (self._newest, self._before):
            if known.start == offset and known.data:
                return known
        if offset >= self.size_bytes:
            return None
        end = next((each.start for each in (self._before, self._newest) if offset < each.start), None)
        most = logs.CHUNK_BYTES if end is None else min(end - offset, logs.CHUNK_BYTES)
        piece = Piece(offset, logs.read(self.path, offset, most))
        if not piece.data:
            return None
        if offset >= self._newest.end:
            self._before, self._newest = self._newest, piece
        return piece

    def ring(self) -> None:
        """There is news."""
        for bell in self.bells:
            bell.ring()


class LogWatch:
    """Looks at all logs that somebody in this process follows. Of one event loop."""

    def __init__(self) -> None:
        self._followed: dict[Path, Followed] = {}
        self._looking: asyncio.Task[None] | None = None
        self._sooner = Bell()
        self._wakes_at = 0.0  # by itself
        self._count = 0  # of those who follow

    @contextmanager
    def follow(self, path: Path, bell: Bell) -> Iterator[Followed]:
        """Until its end, `bell` rings whenever there is more of the log, and at its end."""
        followed = self._followed.get(path)
        if followed is None:
            followed = self._followed[path] = Followed(path)
            followed.look(time.monotonic())
            followed.due = 0.0
            self._sooner.ring()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_always(), name="logs")
        followed.bells.add(bell)
        self._count += 1
        try:
            yield followed
        finally:
            self._count -= 1
            followed.bells.discard(bell)

    async def tail(self, path: Path, offset: int = 0) -> AsyncGenerator[tuple[int, bytes]]:
        """Yield `(offset after, bytes)` from `offset` on, as they come, until the end mark.

        An empty chunk is yielded after each second of silence, so that a caller can do other things."""
        bell = Bell()
        with self.follow(path, bell) as followed:
            while True:
                if piece := followed.piece(offset):
                    offset = piece.end
                    yield offset, piece.data
                elif followed.has_ended:
                    return
                elif not await bell.wait(1.0):
                    yield offset, b""

    async def _look_always(self) -> None:
        writes = Writes(self._written)
        try:
            while self._followed:
                began_s = time.thread_time()
                soonest = self._look(writes)
                await asyncio.sleep((time.thread_time() - began_s) * _REST)
                self._wakes_at = soonest
                await self._sooner.wait(max(soonest - time.monotonic(), 0.0))
        finally:
            writes.close()
            self._looking = None

    def _look(self, writes: Writes) -> float:
        """At all that are due; when the next one is."""
        now = soonest = time.monotonic()
        soonest += _LOOK_TOLD_S
        writes.gather_s = max(_GATHER_S, len(self._followed) * _GATHER_EACH_S)
        for followed in list(self._followed.values()):
            if not followed.bells:
                writes.forget(followed.path)
                del self._followed[followed.path]
                continue
            if followed.due <= now:
                followed.is_told = followed.is_told or writes.watch(followed.path)
                self._look_at(followed, now)
            soonest = min(soonest, followed.due)
        return soonest

    def _written(self, path: Path) -> None:
        if (followed := self._followed.get(path)) is None:
            return
        if (now := time.monotonic()) >= followed.not_before:
            self._look_at(followed, now)
            return
        followed.due = min(followed.due, followed.not_before)
        if followed.due < self._wakes_at:
            self._sooner.ring()

    def _look_at(self, followed: Followed, now: float) -> None:
        if followed.look(now):
            followed.ring()
            followed.not_before = now + min(self._count * _PACE_S, _MOST_PACE_S)
            followed.due = max(followed.due, followed.not_before)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
