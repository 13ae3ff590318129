"""What happens to a build or a run, as it happens: its states and the bytes of its log, each at its offset.

One viewer is one generator that reads rows and a file; nothing is queued for it, so a slow one costs nothing.
The event stream and `log?follow=1` both read from here."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from hermes import logs
from hermes.process import Context
from hermes.queue import CHANGED, Bell
from hermes.states import State
from web.tally import Tally

_POSITION = re.compile(r"(\d{1,6})\.(\d{1,15})", re.ASCII)
_TICK_S = 1.0  # how soon a stream notices that the service stops
_LOOK_S = 5.0  # at the rows when no bell rings
_GATHER_S = 0.05  # viewers that look within this time look once
_ASK_S = 20.0  # whether the viewer may still watch: a revoked token ends its streams
_PACE_S, _MOST_PACE_S = 0.0006, 0.5  # between two pieces, for each stream that is open here
_LIFE_S = 3600.0  # then the viewer comes back by itself; one that a proxy pretends to be does not


class Position(NamedTuple):
    """A place in the log of an attempt."""

    attempt: int
    offset: int


def parse_position(text: str | None) -> Position | None:
    """`<attempt>.<offset>`; None for anything else."""
    match = _POSITION.fullmatch(text or "")
    return Position(int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True)
class Sight:
    """What the rows say: `at_work` while the attempt's log may still grow, `is_over` when all is."""

    state: State
    words: str
    kind: str
    row_id: int
    attempt: int
    at_work: bool
    is_over: bool
    exit_code: int | None = None
    watching: int = 0  # people, this one included


class Subject(Protocol):
    """A build, or a rank of a run."""

    async def look(self) -> Sight:
        """Read the rows."""


class Sights:
    """Lets all viewers of the same thing share their looks at the rows."""

    def __init__(self) -> None:
        self.watching = Tally()  # streams of each subject
        self._next: dict[Subject, asyncio.Task[Sight]] = {}

    async def look(self, subject: Subject) -> Sight:
        """What the rows say after this call began."""
        task = self._next.get(subject)
        if task is None:
            task = self._next[subject] = asyncio.create_task(self._soon(subject))
        return replace(await asyncio.shield(task), watching=self.watching.of(subject))

    async def _soon(self, subject: Subject) -> Sight:
        await asyncio.sleep(_GATHER_S)
        del self._next[subject]  # who comes from here on needs a newer look
        return await subject.look()


class Changed(NamedTuple):
    """The state or its words are new."""

    sight: Sight


class Began(NamedTuple):
    """The log of another attempt begins; what was shown before belongs to an earlier one."""

    attempt: int


class Printed(NamedTuple):
    """Bytes of the log; `offset` is the position after them."""

    attempt: int
    offset: int
    data: bytes


class Ended(NamedTuple):
    """It is over, and everything was said."""

    sight: Sight


class Paused(NamedTuple):
    """The service stops, or the stream is old: come back."""


Item = Changed | Began | Printed | Ended | Paused


class Feed:
    """Follows one subject for one viewer."""

    def __init__(
        self,
        context: Context,
        closing: asyncio.Event,
        sights: Sights,
        subject: Subject,
        first: Sight,
        may_watch: Callable[[], Awaitable[bool]],
    ) -> None:
        self._context = context
        self._closing = closing
        self._sights = sights
        self._subject = subject
        self._sight = first
        self._may_watch = may_watch
        self._allowed = True
        self._looked_at = self._asked_at = self._began_at = time.monotonic()
        self._bell = Bell()

    async def items(self, after: Position | None) -> AsyncGenerator[Item]:
        """From `after` on, if it is a place in the current attempt; else from that attempt's start."""
        self._bell = self._context.doorbell.bell(CHANGED)
        try:
            with self._sights.watching.one_more(self._subject):
                async with aclosing(self._items(after)) as items:
                    async for item in items:
                        yield item
        finally:
            self._context.doorbell.forget(self._bell)

    async def _items(self, after: Position | None) -> AsyncGenerator[Item]:
        self._sight = replace(self._sight, watching=self._sights.watching.of(self._subject))
        yield Changed(self._sight)
        shown = 0
        while not self._should_pause():
            if self._sight.attempt > shown:
                shown = self._sight.attempt
                async with aclosing(self._attempt(shown, after)) as items:
                    async for item in items:
                        yield item
            elif self._sight.is_over:
                yield Ended(self._sight)
                return
            elif await self._look(_TICK_S):
                yield Changed(self._sight)
        yield Paused()

    async def _attempt(self, attempt: int, after: Position | None) -> AsyncGenerator[Item]:
        """The log of one attempt until it ends, or its writer is gone without having ended it."""
        path = self._context.paths.log(self._sight.kind, self._sight.row_id, attempt)
        offset = 0
        if after is not None and after.attempt == attempt:
            offset = min(after.offset, logs.size_bytes(path))
        else:
            yield Began(attempt)
        silent = False
        async with aclosing(logs.tail(path, offset)) as chunks:
            async for position, data in chunks:
                if data:
                    yield Printed(attempt, position, data)
                    if len(data) < logs.CHUNK_BYTES:  # all there was; in a crowd the next piece gathers more
                        await asyncio.sleep(min(self._sights.watching.total() * _PACE_S, _MOST_PACE_S))
                if self._should_pause() or (silent and not data):
                    return
                if await self._look(0):
                    yield Changed(self._sight)
                silent = not data and not (self._sight.at_work and self._sight.attempt == attempt)
        await self._look(0, now=True)

    async def _look(self, wait_s: float, now: bool = False) -> bool:
        """Look at the rows if the bell rang or it is time to; whether they say something new."""
        rang = await self._bell.wait(wait_s)
        every_s = _LOOK_S if self._context.doorbell.connected else _TICK_S
        if not (rang or now or time.monotonic() - self._looked_at >= every_s):
            return False
        self._looked_at = time.monotonic()
        if self._looked_at - self._asked_at >= _ASK_S:
            self._asked_at, self._allowed = self._looked_at, await self._may_watch()
        before, self._sight = self._sight, await self._sights.look(self._subject)
        return self._sight != before

    def _should_pause(self) -> bool:
        return not self._allowed or self._closing.is_set() or time.monotonic() - self._began_at > _LIFE_S
