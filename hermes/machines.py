"""What this instance has, who holds it and who waits for it."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.instance import FRESH_S
from hermes.plan import Plan
from hermes.repos import visible_to
from hermes.states import LIVE, State
from hermes.tables import Rank, Repo, Run, Runner, User
from hermes.waiting import Queue

_SHOWN = 50


@dataclass(frozen=True)
class Holder:
    """A run that holds something. `name` is empty when the visitor may not see its repo."""

    run_id: int
    rank: int
    user: str
    name: str
    since: float
    runner: str
    gpus: tuple[str, ...]
    cpus: float
    memory_bytes: int
    gpu_bytes: int  # of each GPU, where it shares them; 0: it has them alone


@dataclass(frozen=True)
class Machine:
    """A runner with what it has and what is held of it."""

    row: Runner
    holders: list[Holder]
    is_alive: bool

    @property
    def cpus_held(self) -> float:
        """By all ranks on it together."""
        return sum(holder.cpus for holder in self.holders)

    @property
    def memory_held_bytes(self) -> int:
        """By all ranks on it together."""
        return sum(holder.memory_bytes for holder in self.holders)

    @property
    def gpus_free(self) -> int:
        """That could be given away now."""
        return sum(not who and gpu["uuid"] not in self.row.quarantine for gpu, who in self.gpus())

    def gpus(self) -> list[tuple[dict[str, Any], list[Holder]]]:
        """Each GPU, and who has it: one, or all that share it."""
        return [(gpu, [who for who in self.holders if gpu["uuid"] in who.gpus]) for gpu in self.row.gpus]


@dataclass(frozen=True)
class Waiting:
    """A run in the queue. `name` is empty when the visitor may not see its repo."""

    run_id: int
    user: str
    name: str
    wants: str
    why: str
    since: float


async def machines(session: AsyncSession, user: User) -> list[Machine]:
    """Every runner that is alive, and the dead ones that something still counts on."""
    holders = await _holders(session, user)
    rows = (await session.scalars(select(Runner).order_by(Runner.name))).all()
    alive_after = time.time() - FRESH_S
    found = [
        Machine(row, [h for h in holders if h.runner == row.name], row.seen_at > alive_after) for row in rows
    ]
    return [machine for machine in found if machine.is_alive or machine.holders]


async def visible_repos(session: AsyncSession, user: User) -> set[int]:
    """The repos that this user may see."""
    return set((await session.scalars(select(Repo.id).where(visible_to(user)))).all())


async def _holders(session: AsyncSession, user: User) -> list[Holder]:
    owner, starter = select(User.id, User.name).subquery(), select(User.id, User.name).subquery()
    rows = await session.execute(
        select(Rank, Run.repo_id, Repo.name, owner.c.name, starter.c.name)
        .join(Run, Run.id == Rank.run_id)
        .join(Repo, Repo.id == Run.repo_id)
        .join(owner, owner.c.id == Repo.owner_id)
        .join(starter, starter.c.id == Run.user_id)
        .where(Rank.state.in_(LIVE))
        .order_by(Rank.id)
    )
    readable = await visible_repos(session, user)
    return [_holder(row, readable) for row in rows.all() if row[0].slot]


def _holder(row: "Row[Any]", readable: set[int]) -> Holder:
    rank, repo_id, repo, owner, starter = tuple(row)
    slot = rank.slot or {}
    return Holder(
        run_id=rank.run_id,
        rank=rank.number,
        user=starter,
        name=f"{owner}/{repo}" if repo_id in readable else "",
        since=rank.claimed_at or rank.created_at,
        runner=slot.get("runner", ""),
        gpus=tuple(slot.get("gpus", ())),
        cpus=slot.get("cpus", 0),
        memory_bytes=slot.get("memory_bytes", 0),
        gpu_bytes=slot.get("gpu_bytes", 0),
    )


async def queue(session: AsyncSession, user: User) -> tuple[list[Waiting], int]:
    """The head of the queue, in the order of fairness, and how many wait in all."""
    waiting = select(Run).where(Run.state == State.QUEUED)
    rows = await session.execute(
        waiting.add_columns(Repo, User.name)
        .join(Repo, Repo.id == Run.repo_id)
        .join(User, User.id == Run.user_id)
        .order_by(Run.queue_key, Run.id)
        .limit(_SHOWN)
    )
    total = await session.scalar(select(func.count()).select_from(waiting.subquery())) or 0
    readable = await visible_repos(session, user)
    owners = dict((await session.execute(select(User.id, User.name))).all())
    shown, waits = [], Queue(session, user)
    for run, repo, starter in rows.all():
        why = await waits.why(run)
        name = f"{owners[repo.owner_id]}/{repo.name}" if repo.id in readable else ""
        shown.append(
            Waiting(run.id, starter, name, wants(Plan.model_validate(run.plan)), why, run.created_at)
        )
    return shown, total


def wants(plan: Plan) -> str:
    """What each rank needs, in a few words: `1 GPU, 2 CPUs`."""
    count = plan.gpu.count
    gpus = f"{count} GPU{'s' if count > 1 else ''}, " if count else ""
    ranks = f"{len(plan.ranks)} × " if len(plan.ranks) > 1 else ""
    return f"{ranks}{gpus}{plan.cpus:g} CPU{'s' if plan.cpus != 1 else ''}"
