"""What happens to a build or a run, as it happens: its states and the bytes of its log, each at its offset.

One viewer is one generator that sleeps until its bell rings, and then looks at what all viewers share: the
sight of the rows, the newest piece of the log. Nothing is queued for it, so a slow one costs nothing.
The event stream and `log?follow=1` both read from here."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from random import uniform
from typing import NamedTuple

from hermes import logs
from hermes.followed import Piece
from hermes.process import Context
from hermes.queue import Bell
from web.sights import Sight, Sights, Subject, View

_POSITION = re.compile(r"(\d{1,6})\.(\d{1,15})", re.ASCII)
_SILENT_S = 1.0  # a log without an end is over when its writer is gone and so long nothing came
_CLOCK_S = 5.0  # how often a viewer looks at the clock
_ASK_S = 20.0  # whether the viewer may still watch: a revoked token ends its streams
_LIFE_S = 3600.0  # then the viewer comes back by itself; one that a proxy pretends to be does not


class Position(NamedTuple):
    """A place in the log of an attempt."""

    attempt: int
    offset: int


def parse_position(text: str | None) -> Position | None:
    """`<attempt>.<offset>`; None for anything else."""
    match = _POSITION.fullmatch(text or "")
    return Position(int(match[1]), int(match[2])) if match else None


class Changed(NamedTuple):
    """The state or its words are new."""

    sight: Sight


class Began(NamedTuple):
    """The log of another attempt begins; what was shown before belongs to an earlier one."""

    attempt: int


class Printed(NamedTuple):
    """Bytes of the log."""

    attempt: int
    piece: Piece


class Quiet(NamedTuple):
    """Nothing; said now and then."""


class Ended(NamedTuple):
    """It is over, and everything was said."""

    sight: Sight


class Paused(NamedTuple):
    """The service stops, or the stream is old: come back."""


Item = Changed | Began | Printed | Quiet | Ended | Paused


@dataclass(frozen=True)
class Watched:
    """What somebody looks at, as it was first seen, and whether they may still see it."""

    subject: Subject
    first: Sight
    may_watch: Callable[[], Awaitable[bool]]


class Feed:
    """Follows one subject for one viewer."""

    def __init__(self, context: Context, sights: Sights, watched: Watched) -> None:
        self._context, self._sights, self._watched = context, sights, watched
        self._told = watched.first
        self._heard = watched.first  # the object that was compared last
        self._is_left = self._is_refused = False
        self._began_at = time.monotonic()
        self._asked_at = self._began_at - uniform(0, _ASK_S)  # a crowd that comes together asks one by one
        self._bell = Bell()
        self._clock: asyncio.TimerHandle

    def leave(self) -> None:
        """Nobody reads any more."""
        self._is_left = True
        self._bell.ring()

    async def items(self, after: Position | None) -> AsyncGenerator[Item]:
        """From `after` on, if it is a place in the current attempt; else from that attempt's start."""
        self._clock = asyncio.get_running_loop().call_later(uniform(0, _CLOCK_S), self._tick)
        try:
            with self._sights.watch(self._watched.subject, self._watched.first, self._bell) as view:
                self._heard = view.sight
                self._told = replace(view.sight, watching=len(view.bells))
                yield Changed(self._told)
                async with aclosing(self._items(view, after)) as items:
                    async for item in items:
                        yield item
        finally:
            self._clock.cancel()

    async def _items(self, view: View, after: Position | None) -> AsyncGenerator[Item]:
        shown = 0
        while await self._goes_on(view):
            if self._is_news(view):
                yield Changed(self._told)
            if view.sight.attempt > shown:
                shown = view.sight.attempt
                async with aclosing(self._attempt(view, shown, after)) as items:
                    async for item in items:
                        yield item
            elif view.sight.is_over:
                yield Ended(self._told)
                return
            else:
                yield Quiet()
                await self._bell.wait(None)
        yield Paused()

    async def _attempt(self, view: View, attempt: int, after: Position | None) -> AsyncGenerator[Item]:
        """The log of one attempt until it ends, or its writer is gone without having ended it."""
        path = self._context.paths.log(view.sight.kind, view.sight.row_id, attempt)
        offset = 0
        if after is not None and after.attempt == attempt:
            offset = min(after.offset, logs.size_bytes(path))
        else:
            yield Began(attempt)
        with self._context.logs.follow(path, self._bell) as log:
            while await self._goes_on(view):
                if self._is_news(view):
                    yield Changed(self._told)
                if piece := log.piece(offset):
                    offset = piece.end
                    yield Printed(attempt, piece)
                elif log.has_ended:
                    break
                elif view.sight.at_work and view.sight.attempt == attempt:
                    yield Quiet()
                    await self._bell.wait(None)
                elif not await self._bell.wait(_SILENT_S):
                    break
        self._sights.look_again(view)

    def _is_news(self, view: View) -> bool:
        """Whether the rows say something that the viewer was not told."""
        if view.sight is self._heard:
            return False
        self._heard = view.sight
        is_news = self._heard != self._told
        self._told = self._heard
        return is_news

    async def _goes_on(self, view: View) -> bool:
        now = time.monotonic()
        if now - self._asked_at >= _ASK_S and not self._is_left:
            self._asked_at = now
            async with self._sights.asking:
                self._is_refused = now - self._began_at > _LIFE_S or not await self._watched.may_watch()
        return not (self._is_left or self._is_refused or view.is_gone or self._sights.closing.is_set())

    def _tick(self) -> None:
        self._clock = asyncio.get_running_loop().call_later(_CLOCK_S, self._tick)
        self._bell.ring()
