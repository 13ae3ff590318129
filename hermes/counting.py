"""Counters that only grow: what the journal of events comes to, each event counted once.

A row keeps the counts up to some event, so that they outlive restarts, and rows that are deleted later. What
comes after is counted again from there: nothing is written for each event. Of an attempt that was followed by
another before it was counted, the durations are left out."""

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.database import Database
from hermes.leases import cause_of
from hermes.states import LIVE, TERMINAL, State
from hermes.tables import Build, Event, Rank, Run
from hermes.watched import Counted

BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_AT_ONCE = 2000
_KEPT_EVERY_S = 60.0
_UNSETTLED_S = 5.0  # PostgreSQL gives numbers before it commits: younger ones may still miss one among them
_ROW = 1


@dataclass
class Counts:
    """Counters by name and labels; durations by name: how many fell into each bucket, and their sum."""

    totals: dict[str, Counter[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(Counter))
    durations: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, *labels: str) -> None:
        """One more."""
        self.totals[name][labels] += 1

    def took(self, name: str, span_s: float) -> None:
        """A duration; of clocks that were set back, none."""
        found = self.durations.setdefault(name, [0.0] * (len(BUCKETS) + 2))
        found[bisect_left(BUCKETS, span_s)] += 1
        found[-1] += max(span_s, 0.0)

    def as_json(self) -> dict[str, Any]:
        """To be kept."""
        totals = {
            name: [[*labels, count] for labels, count in each.items()] for name, each in self.totals.items()
        }
        return {"totals": totals, "durations": self.durations}

    @classmethod
    def of_json(cls, kept: dict[str, Any]) -> "Counts":
        """What was kept; durations of other buckets begin anew."""
        counts = cls()
        for name, rows in kept.get("totals", {}).items():
            counts.totals[name] = Counter({tuple(row[:-1]): row[-1] for row in rows})
        whole = len(BUCKETS) + 2
        counts.durations = {k: row for k, row in kept.get("durations", {}).items() if len(row) == whole}
        return counts


class Counting:
    """The counts of one process, brought up to date whenever somebody asks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last_event: int | None = None
        self._kept_event, self._kept_at = 0, 0.0
        self.counts = Counts()

    async def count(self) -> bool:
        """Some more events; whether there are others. Raises Unavailable."""
        if self._last_event is None:
            await self._begin()
        async with self._database.read() as session:
            events = await self._next(session)
            if events:
                await _count(session, self.counts, events)
                self._last_event = events[-1].id
        return len(events) == _AT_ONCE

    async def keep(self) -> None:
        """Once a minute, if there is more than was kept. Raises Unavailable."""
        last = self._last_event or 0
        if last == self._kept_event or time.monotonic() < self._kept_at + _KEPT_EVERY_S:
            return
        values = {"last_event": last, "counts": self.counts.as_json(), "at": time.time()}
        async with self._database.write() as session:
            await session.merge(Counted(id=_ROW, **values))
        self._kept_event, self._kept_at = last, time.monotonic()

    async def _begin(self) -> None:
        async with self._database.read() as session:
            row = await session.get(Counted, _ROW)
            newest = await session.scalar(select(func.max(Event.id))) or 0
        if row is not None and row.last_event <= newest:
            self.counts, self._kept_event = Counts.of_json(row.counts), row.last_event
        self._last_event, self._kept_at = self._kept_event, time.monotonic()

    async def _next(self, session: AsyncSession) -> list[Event]:
        later = select(Event).where(Event.id > self._last_event).order_by(Event.id).limit(_AT_ONCE)
        events = list((await session.scalars(later)).all())
        if self._database.is_sqlite:
            return events
        now = time.time()
        young = (at for at, each in enumerate(events) if now - _UNSETTLED_S < each.at <= now)
        return events[: next(young, len(events))]


async def _count(session: AsyncSession, counts: Counts, events: Sequence[Event]) -> None:
    """With the rows that they tell of, unless these are gone."""
    ids = {
        kind: {each.subject_id for each in events if each.kind == kind} for kind in ("run", "build", "rank")
    }
    triggers = dict((await session.execute(_TRIGGERS.where(Run.id.in_(ids["run"])))).all())
    builds = {row.id: row for row in (await session.execute(_BUILDS.where(Build.id.in_(ids["build"])))).all()}
    ranks = {row.id: row for row in (await session.execute(_RANKS.where(Rank.id.in_(ids["rank"])))).all()}
    for each in events:
        if each.kind == "push" and each.to_state != "received":
            counts.add("pushes", each.to_state)
        elif each.kind == "run":
            _count_run(counts, each, triggers.get(each.subject_id, "other"))
        elif each.kind in ("build", "rank"):
            row = (builds if each.kind == "build" else ranks).get(each.subject_id)
            _count_work(counts, each)
            _measure(counts, each, row)


_TRIGGERS = select(Run.id, Run.trigger)
_TIMES = ("attempt", "created_at", "claimed_at", "started_at")
_BUILDS = select(Build.id, *(getattr(Build, name) for name in _TIMES), literal(0.0).label("ready_at"))
_RANKS = (
    select(Rank.id, *(getattr(Rank, name) for name in _TIMES), Build.ended_at.label("ready_at"))
    .join(Run, Run.id == Rank.run_id)
    .join(Build, Build.id == Run.build_id)
)


def _count_run(counts: Counts, event: Event, trigger: str) -> None:
    if not event.from_state:
        counts.add("asked", trigger)
    if event.to_state in TERMINAL:
        counts.add("runs", trigger, event.to_state)


def _count_work(counts: Counts, event: Event) -> None:
    if event.to_state in TERMINAL:
        counts.add(f"{event.kind}s", event.to_state)
    if event.from_state in LIVE and event.to_state in (State.QUEUED, State.LOST):
        counts.add("interrupted", event.kind, cause_of(event.reason))


def _measure(counts: Counts, event: Event, row: "Row[Any] | None") -> None:
    """How long it waited for its turn (of a first attempt), how long it took to start, how long it ran."""
    if row is None or row.attempt != event.attempt:
        return
    if event.from_state == State.QUEUED and event.to_state in LIVE and event.attempt == 1:
        counts.took(f"{event.kind}_wait", event.at - max(row.created_at, row.ready_at or 0.0))
    if event.to_state == State.RUNNING and row.claimed_at:
        counts.took("rank_start", event.at - row.claimed_at)
    if event.from_state in LIVE and event.to_state in TERMINAL and row.started_at:
        counts.took(f"{event.kind}_run", event.at - row.started_at)
