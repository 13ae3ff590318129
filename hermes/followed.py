"""Logs that are followed: one look at each for all who follow it, one read of each new piece.

Who follows a log keeps an offset and a bell, nothing else: no piece waits for anybody. Those who are at the
same place get the same piece; one who is behind reads for itself, up to where a shared piece begins.

There is no inotify: it would not see what another machine writes, and a look is two calls of `stat` (a few
microseconds), rare while a log is silent."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hermes import logs
from hermes.queue import Bell

_LOOKS_S = ((0.5, 0.01), (5.0, 0.05))  # (until so long after the last byte, every so often), then:
_LOOK_IDLE_S = 0.25
_REST = 10  # times as long as it took, before the next round of looks: a tenth of a core at most
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
        self.bells: set[Bell] = set()
        self.size_bytes = 0
        self.has_ended = False  # at this size
        self.due = 0.0
        self._path, self._log, self._index = path, str(path), str(logs.index_path(path))
        self._index_bytes = 0
        self._grew_at = time.monotonic()
        self._before = self._newest = Piece(0, b"")

    def look(self, now: float) -> bool:
        """Whether there is more of it, or its end."""
        if self.has_ended:
            self.due = now + _LOOK_IDLE_S
            return False
        if (index_bytes := _size(self._index)) != self._index_bytes:
            self._index_bytes = index_bytes
            self.has_ended = logs.end_offset(self._path) is not None  # first: nothing is written after it
        size = _size(self._log)
        grew, self.size_bytes = size > self.size_bytes, size
        if grew:
            self._grew_at = now
        quiet_s = now - self._grew_at
        self.due = now + next((every for until, every in _LOOKS_S if quiet_s < until), _LOOK_IDLE_S)
        return grew or self.has_ended

    def piece(self, offset: int) -> Piece | None:
        """What lies at `offset`; None: nothing (yet)."""
        for known in (self._newest, self._before):
            if known.start == offset and known.data:
                return known
        if offset >= self.size_bytes:
            return None
        end = next((each.start for each in (self._before, self._newest) if offset < each.start), None)
        most = logs.CHUNK_BYTES if end is None else min(end - offset, logs.CHUNK_BYTES)
        piece = Piece(offset, logs.read(self._path, offset, most))
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
        self._new = Bell()

    @contextmanager
    def follow(self, path: Path, bell: Bell) -> Iterator[Followed]:
        """Until its end, `bell` rings whenever there is more of the log, and at its end."""
        followed = self._followed.get(path)
        if followed is None:
            followed = self._followed[path] = Followed(path)
            followed.look(time.monotonic())
            self._new.ring()
        followed.bells.add(bell)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="logs")
        try:
            yield followed
        finally:
            followed.bells.discard(bell)
            if not followed.bells:
                del self._followed[path]

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

    async def _look(self) -> None:
        while self._followed:
            began = time.monotonic()
            pace_s = min(sum(len(each.bells) for each in self._followed.values()) * _PACE_S, _MOST_PACE_S)
            for followed in list(self._followed.values()):
                if followed.due <= began and followed.look(began):
                    followed.ring()
                    followed.due = max(followed.due, began + pace_s)
            now = time.monotonic()
            soonest = min((each.due for each in self._followed.values()), default=now)
            await asyncio.sleep((now - began) * _REST)
            await self._new.wait(max(soonest - time.monotonic(), 0.0))
        self._looking = None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
