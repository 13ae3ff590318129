"""What rows say of what is watched: looked at once for all who watch, and in full only where it changed."""

import asyncio
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from hermes.errors import Unavailable
from hermes.journal import log
from hermes.process import Context
from hermes.queue import CHANGED, Bell
from hermes.states import State
from web.glance import RowKey, glance

_TICK_S = 1.0  # how soon streams notice that the service stops
_LOOK_S = 5.0  # at the rows when no bell rings
_GATHER_S = 0.05  # bells that ring within this time cause one look
_MOST_ASK = 4  # viewers at a time, whether they may still watch: a crowd leaves the database to others
_REST, _MOST_REST_S = 4, 2.0  # times as long as it took, before the next look


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
    """A build, or a rank of a run. Two of the same thing are equal."""

    async def look(self) -> Sight:
        """Read the rows."""


class View:
    """One subject, and the bells of those who watch it."""

    def __init__(self, subject: Subject, sight: Sight) -> None:
        self.subject, self.sight = subject, sight
        self.key = RowKey(sight.kind, sight.row_id)
        self.is_gone = False  # its rows cannot be read any more
        self.bells: set[Bell] = set()
        self.shown: Hashable = None  # by the last glance; None: look in full

    def ring(self) -> None:
        """There is news."""
        for bell in self.bells:
            bell.ring()


class Sights:
    """Looks for all streams of this process. `closing`: the service stops, and everybody is to hear of it."""

    def __init__(self, context: Context, closing: asyncio.Event) -> None:
        self.closing = closing
        self.asking = asyncio.Semaphore(_MOST_ASK)
        self._context = context
        self._views: dict[Subject, View] = {}
        self._bell = Bell()
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def watch(self, subject: Subject, first: Sight, bell: Bell) -> Iterator[View]:
        """Until its end, `bell` rings when there is another sight; `first` was seen just now."""
        view = self._views.get(subject)
        if view is None or view.is_gone:
            view = self._views[subject] = View(subject, first)
        view.bells.add(bell)
        if self._looking is None:
            self._bell = self._context.doorbell.bell(CHANGED)
            self._looking = asyncio.create_task(self._look_always(), name="sights")
        try:
            yield view
        finally:
            view.bells.discard(bell)
            if not view.bells and self._views.get(subject) is view:
                del self._views[subject]

    def look_again(self, view: View) -> None:
        """Soon and in full: something was seen that the rows should tell of."""
        view.shown = None
        self._bell.ring()

    async def _look_always(self) -> None:
        looked_at, rest_s = time.monotonic(), _GATHER_S
        try:
            while self._views:
                rang = await self._bell.wait(_TICK_S)
                if self.closing.is_set():
                    for view in self._views.values():
                        view.ring()
                every_s = _LOOK_S if self._context.doorbell.connected else _TICK_S
                if rang or time.monotonic() - looked_at >= every_s:
                    await asyncio.sleep(rest_s)
                    looked_at = time.monotonic()
                    await self._look()
                    took_s = time.monotonic() - looked_at
                    rest_s = min(max(_GATHER_S, took_s * _REST), _MOST_REST_S)
        finally:
            self._context.doorbell.forget(self._bell)
            self._looking = None

    async def _look(self) -> None:
        views = [(view, view.shown) for view in self._views.values()]
        try:
            now = await glance(self._context, {view.key for view, _ in views})
        except Unavailable as error:  # the database is away: all is as it was, until the next look
            log.warning("cannot glance at what is watched", error=str(error))
            return
        except Exception:
            log.exception("cannot glance at what is watched")
            now = {}
        for view, shown in views:
            seen = now.get(view.key)
            if view.bells and (seen is None or seen != shown):
                view.shown = seen
                await self._look_at(view)
            if view.sight.watching != len(view.bells):
                view.sight = replace(view.sight, watching=len(view.bells))
                view.ring()

    async def _look_at(self, view: View) -> None:
        before = view.sight
        try:
            view.sight = replace(await view.subject.look(), watching=before.watching)
        except Unavailable as error:
            log.warning("cannot look at what is watched", error=str(error), id=before.row_id)
            view.shown = None
        except Exception:
            log.exception("cannot look at what is watched", kind=before.kind, id=before.row_id)
            view.is_gone = True
        if view.is_gone or view.sight != before:
            view.ring()
