"""Which waiting ranks start now: the queue in the order of fairness, the slots, the bounds of each user."""

import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple

from sqlalchemy import Float, Integer, bindparam, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.faultpoint import faultpoint
from hermes.gpu import GpuWant
from hermes.leases import is_due, take
from hermes.pools import PoolTable, open_pools
from hermes.process import Context
from hermes.states import State
from hermes.supervisor import Job
from hermes.tables import Build, Rank, Run, User
from hermes.usage import learned_memory_bytes, spent_users
from runner.hygiene import Hygiene
from runner.slots import Capacity, Condition, Round, Slot, Want

#: Ranks that are looked at together, from the head of the queue: few at first, as a few kinds of wishes are
#: often all that there are.
_PAGES = (40, 240, 240, 240, 240)
#: Ranks that could start, as columns: rows of the mapper cost ten times as much.
_QUEUE = (
    select(
        Rank.id, Rank.run_id, Rank.queue_key, Rank.shape, Rank.created_at, Rank.not_before,
        Run.user_id, User.name.label("user"),
    )
    .join(Run, Run.id == Rank.run_id)
    .join(User, User.id == Run.user_id)
    .join(Build, Build.id == Run.build_id)
    .where(
        Rank.state == State.QUEUED,
        is_due(Rank, bindparam("now", type_=Float)),
        Build.state == State.BUILT,
        Run.cancel_requested_at.is_(None),
    )
    .order_by(Rank.queue_key, Rank.id)
    .limit(bindparam("size", type_=Integer))
)  # fmt: skip
_BEHIND = _QUEUE.where(
    tuple_(Rank.queue_key, Rank.id) > tuple_(bindparam("key", type_=Float), bindparam("id", type_=Integer)),
    Rank.shape.not_in(bindparam("hopeless", expanding=True)),
)
_CHOSEN = (
    select(Rank)
    .where(Rank.id.in_(bindparam("chosen", expanding=True)), Rank.state == State.QUEUED)
    .order_by(Rank.queue_key, Rank.id)
    .with_for_update(skip_locked=True)
)
_PLAN = Run.plan
_ASKS = select(
    Run.repo_id,
    _PLAN["name"].as_string(),
    _PLAN["cpus"].as_float(),
    _PLAN["memory_bytes"].as_float(),  # an integer would have 32 bits
    _PLAN["gpu"],
).where(Run.id == bindparam("run"))
_SHAPES = text("""
WITH RECURSIVE waiting(shape) AS (
  SELECT MIN(shape) FROM rank WHERE state = 'queued'
  UNION ALL
  SELECT (SELECT MIN(shape) FROM rank WHERE state = 'queued' AND shape > waiting.shape)
  FROM waiting WHERE waiting.shape IS NOT NULL
)
SELECT shape FROM waiting WHERE shape IS NOT NULL
""")
_MOST_SHAPES = 500  # that one statement names


class _Asked(NamedTuple):
    """What each rank of a run asks for; of those of one shape all but the repository and the name is equal,
    and these two are of no use to them."""

    repo_id: int
    name: str
    cpus: float
    memory_bytes: int
    gpu: GpuWant


@dataclass
class Claims:
    """Takes ranks for one runner."""

    context: Context
    owner: str
    capacity: Capacity
    hygiene: Hygiene
    pools: PoolTable
    _asked: dict[str, _Asked] = field(default_factory=dict)  # by shape, else run; as seen the last time
    _last_gpu: str = ""

    async def claim(self, jobs: Sequence[Job[Rank]]) -> list[Job[Rank]]:
        """Take every waiting rank that fits beside what is at work, in the order of fairness."""
        starts = await self.decide([slot_of(job.row) for job in jobs if job.holds])
        if not starts:
            return []
        faultpoint("rank.claiming")
        async with self.context.database.write() as session:
            rows = await session.scalars(_CHOSEN, {"chosen": list(starts)})
            return [job for row in rows.all() if (job := await self._take(session, row, starts[row.id]))]

    async def _take(self, session: AsyncSession, row: Rank, slot: Slot) -> Job[Rank] | None:
        values = {"slot": as_row(slot), "gpu_count": len(slot.gpus)}
        if not await take(session, row, self.owner, self.context.settings.lease, **values):
            return None
        self._last_gpu = slot.gpus[-1] if slot.gpus else self._last_gpu
        return Job(row, self.owner)

    async def decide(self, held: Sequence[Slot], leaving: Sequence[Slot] = ()) -> dict[int, Slot]:
        """{rank: its slot} of those that start now, or as soon as what is `leaving` is free; looks further
        down the queue while there is room."""
        starts: dict[int, Slot] = {}
        asked: dict[str, _Asked] = {}
        async with self.context.database.read() as session:
            rows = await _page(session, _PAGES[0])
            if not rows:
                return {}
            condition = await self._condition(session, [*held, *leaving])
            look = Round(self.capacity, held, condition)
            for size, next_size in zip_longest(_PAGES, _PAGES[1:], fillvalue=0):
                for row in rows:
                    pools = open_pools(self.pools, row.user) if self.pools else None
                    shape = row.shape or str(row.run_id)
                    if not look.is_hopeless(shape, pools):
                        asked[shape] = asked.get(shape) or await self._ask(session, shape, row.run_id)
                        want = await _want(session, row, asked[shape], shape, pools)
                        if (slot := look.consider(want)) is not None:
                            starts[row.id] = slot
                if look.is_full or len(rows) < size or not next_size:
                    break
                hopeless = [] if self.pools else look.hopeless  # with pools, not for everybody
                if hopeless and await _shapes(session) <= set(hopeless):
                    break
                rows = await _page(session, next_size, rows[-1], hopeless)
        self._asked = asked
        return starts

    async def _ask(self, session: AsyncSession, shape: str, run_id: int) -> _Asked:
        """What a run's ranks ask for: it never changes. The whole plan may hold ten thousand ranks."""
        known = self._asked.get(shape)
        if known is None:
            row = (await session.execute(_ASKS, {"run": run_id})).one()
            repo_id, name, cpus, memory_bytes, gpu = row
            known = _Asked(repo_id, name, cpus, int(memory_bytes), GpuWant.model_validate(gpu))
        return known

    async def _condition(self, session: AsyncSession, held: Sequence[Slot]) -> Condition:
        alone = {uuid for slot in held if not slot.gpu_bytes for uuid in slot.gpus}
        open_gpus = [gpu.uuid for gpu in self.capacity.gpus if gpu.uuid not in alone]
        shared = {uuid for slot in held if slot.gpu_bytes for uuid in slot.gpus}
        unfit, memory = await self.hygiene.look(session, open_gpus, shared)
        limit_s = self.context.settings.user_gpu_time
        spent = await spent_users(session, limit_s) if limit_s else frozenset()
        return Condition(unfit, memory, spent, self._last_gpu)


def as_row(slot: Slot) -> dict[str, Any]:
    """As a rank of this runner keeps it."""
    return asdict(slot) | {"runner": socket.gethostname()}


def slot_of(rank: Rank) -> Slot:
    """What a rank was given."""
    slot = {key: value for key, value in (rank.slot or {}).items() if key != "runner"}
    return Slot(**slot | {"gpus": tuple(slot["gpus"])})


async def _page(
    session: AsyncSession, size: int, last: Any = None, hopeless: Sequence[str] = ()
) -> list[Any]:
    """The head of the queue; or what comes behind `last`, without what is hopeless."""
    query: Any = _QUEUE
    values: dict[str, Any] = {"now": time.time(), "size": size}
    if last is not None:
        query = _BEHIND
        values |= {"key": last.queue_key, "id": last.id, "hopeless": list(hopeless[:_MOST_SHAPES])}
    return list((await session.execute(query, values)).all())


async def _shapes(session: AsyncSession) -> set[str]:
    """Of all that waits: an index is skipped through, 0.04 ms where DISTINCT reads it whole."""
    return set((await session.scalars(_SHAPES)).all())


async def _want(
    session: AsyncSession, row: Any, asked: _Asked, shape: str, pools: frozenset[str] | None
) -> Want:
    return Want(
        rank_id=row.id,
        cpus=asked.cpus,
        memory_bytes=asked.memory_bytes,
        gpu=await _reserved(session, asked),
        waited_s=time.time() - max(row.created_at, row.not_before),
        user_id=row.user_id,
        pools=pools,
        shape=shape,
    )


async def _reserved(session: AsyncSession, asked: _Asked) -> GpuWant:
    """With `share` and no size: what earlier ranks of the function used; nobody knows: a GPU alone."""
    gpu = asked.gpu
    if not gpu.share or gpu.memory_bytes or not gpu.count:
        return gpu
    known = await learned_memory_bytes(session, asked.repo_id, asked.name)
    return gpu.model_copy(update={"memory_bytes": known, "share": known > 0})
