"""What the rows say of this moment, for `/metrics` and `/readyz`: one visit to the database."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, bindparam, func, or_, select

from hermes.at_once import Ask
from hermes.instance import FRESH_S
from hermes.schedules import Schedule
from hermes.states import State
from hermes.tables import Build, Outbox, Process, Push, Rank, Runner
from hermes.transitions import CALLBACK

_FORGOTTEN_S = 7 * 86400.0  # a machine that has another name now
_BUILDS = select(func.count()).where(Build.state == bindparam("state"))
_RANKS = select(func.count()).where(Rank.state == bindparam("state"))
_SLOTS = select(Rank.slot).where(or_(Rank.state == State.STARTING, Rank.state == State.RUNNING))
_RUNNERS = select(Runner.name, Runner.gpus, Runner.quarantine, Runner.uses, Runner.seen_at)
_PROCESSES = select(
    Process.kind,
    Process.host,
    Process.executor,
    Process.trouble,
    Process.missed_rings,
    Process.memory_bytes,
    Process.seen_at,
).where(Process.seen_at > bindparam("since"))
_HALF_PUSHES = select(func.count()).where(Push.state == "received")
_CALLBACKS = select(func.count()).where(Outbox.topic == CALLBACK, Outbox.sent_at.is_(None))


_PAUSED = func.count(Schedule.paused_at)
_SCHEDULES = select(func.count(Schedule.id) - _PAUSED, _PAUSED)
_NEXT_SCHEDULE = select(func.min(Schedule.next_at)).where(Schedule.paused_at.is_(None))


def _oldest(table: type[Build] | type[Rank]) -> Select[float, float]:
    """Of what waits, that with the smallest number: found in an index, whatever waits behind it."""
    first = select(func.min(table.id)).where(table.state == State.QUEUED).scalar_subquery()
    return select(table.created_at, table.not_before).where(table.id == first)


_OLDEST_BUILD, _OLDEST_RANK = _oldest(Build), _oldest(Rank)
STATES = {"build": (State.QUEUED, State.BUILDING), "rank": (State.QUEUED, State.STARTING, State.RUNNING)}


@dataclass(frozen=True)
class Gauges:
    """`waits_s`: how long the first of those that wait has waited, 0 if none does."""

    at: float
    under_way: dict[str, dict[State, int]]
    waits_s: dict[str, float]
    gpus: list["GpuGauge"]
    processes: list["Sign"]
    half_pushes: int
    callbacks: int
    schedules: dict[str, int]  # active, and paused
    schedule_late_s: float  # that of those that are due which has been for the longest


@dataclass(frozen=True)
class GpuGauge:
    """One GPU of a runner that is alive; None where the driver does not say."""

    runner: str
    uuid: str
    model: str
    state: str  # free, held, quarantined
    use: dict[str, Any] = field(default_factory=dict)
    memory_bytes: int = 0


@dataclass(frozen=True)
class Sign:
    """What a builder or a runner last said of itself."""

    kind: str
    host: str
    executor: str
    trouble: str
    missed_rings: int
    memory_bytes: int
    age_s: float

    @property
    def name(self) -> str:
        """As people know it."""
        return "builder" if self.kind == "build" else "runner"

    @property
    def is_alive(self) -> bool:
        """It showed itself lately."""
        return self.age_s < FRESH_S


def look(ask: Ask) -> Gauges:
    """As things are now."""
    now = time.time()
    held = {uuid for (slot,) in ask(_SLOTS) for uuid in (slot or {}).get("gpus", ())}
    return Gauges(
        at=now,
        under_way={"build": _states(ask, "build", _BUILDS), "rank": _states(ask, "rank", _RANKS)},
        waits_s={"build": _wait_s(ask, _OLDEST_BUILD, now), "rank": _wait_s(ask, _OLDEST_RANK, now)},
        gpus=[gpu for row in ask(_RUNNERS) if row[4] > now - FRESH_S for gpu in _gpus(row, held)],
        processes=signs(ask, now),
        half_pushes=ask(_HALF_PUSHES)[0][0],
        callbacks=ask(_CALLBACKS)[0][0],
        schedules=dict(zip(("active", "paused"), ask(_SCHEDULES)[0], strict=True)),
        schedule_late_s=max(now - (ask(_NEXT_SCHEDULE)[0][0] or now), 0.0),
    )


def signs(ask: Ask, now: float) -> list[Sign]:
    """What builders and runners last said of themselves."""
    found = []
    for kind, host, executor, trouble, missed, size_bytes, seen_at in ask(
        _PROCESSES, since=now - _FORGOTTEN_S
    ):
        found.append(Sign(kind, host, executor, trouble, missed, size_bytes, max(now - seen_at, 0.0)))
    return found


def _states(ask: Ask, kind: str, query: Select[int]) -> dict[State, int]:
    return {state: ask(query, state=state)[0][0] for state in STATES[kind]}


def _wait_s(ask: Ask, query: Select[float, float], now: float) -> float:
    """Of a later attempt from when it could begin."""
    return max((now - max(created_at, not_before) for created_at, not_before in ask(query)), default=0.0)


def _gpus(row: Sequence[Any], held: set[str]) -> list[GpuGauge]:
    runner, gpus, away, uses, _ = row
    found = []
    for gpu in gpus:
        uuid = gpu["uuid"]
        state = "quarantined" if uuid in away else "held" if uuid in held else "free"
        found.append(GpuGauge(runner, uuid, gpu["model"], state, uses.get(uuid) or {}, gpu["memory_bytes"]))
    return found
