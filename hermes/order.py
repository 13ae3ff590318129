"""The whole queue in its order, and what makes it this one: whose turn it is, and how long it may take."""

import heapq
import time
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.fairness import TURN_S
from hermes.instance import runners
from hermes.machines import visible_repos, wants
from hermes.plan import Plan
from hermes.states import LIVE, State
from hermes.tables import Rank, Repo, Run, User
from hermes.waiting import times_left, usual_s, waiting_seen_by

_MOST_RANKS = 1000  # of one run that an estimate looks at


@dataclass(frozen=True)
class Place:
    """A run with ranks in the queue. `name` and `why` are empty when the viewer may not see its repo; `turns`
    says how many ranks of its user come before it; `starts_in_s` None: nobody can tell."""

    number: int
    run_id: int
    user: str
    name: str
    wants: str
    ranks: int
    why: str
    since: float
    turns: int
    starts_in_s: float | None


@dataclass(frozen=True)
class Turn:
    """How one user stands: a run that they queue now lines up as if it came `later_s` later."""

    user: str
    waiting: int
    running: int
    later_s: float


@dataclass(frozen=True)
class Order:
    """A page of the queue. `before` are the users of the runs before the viewer's first one, with how many
    each has there; `first` is the place of that one, 0 if they have none."""

    places: list[Place]
    total: int
    turns: list[Turn]
    first: int
    before: dict[str, int]


async def read_order(session: AsyncSession, viewer: User, skip: int, limit: int) -> Order:
    """From the place after `skip`."""
    first_key = func.min(Rank.queue_key)
    queued = (
        select(Run.id, Run.user_id, func.count(), first_key)
        .join(Rank, Rank.run_id == Run.id)
        .where(Rank.state == State.QUEUED)
        .group_by(Run.id, Run.user_id)
        .order_by(first_key, Run.id)
    )
    rows = (await session.execute(queued)).all()
    names = dict((await session.execute(select(User.id, User.name))).all())
    first = next((number for number, row in enumerate(rows, 1) if row[1] == viewer.id), 0)
    before: dict[str, int] = {}
    for row in rows[: max(first - 1, 0)]:
        before[names[row[1]]] = before.get(names[row[1]], 0) + 1
    shown = [(number, row[0], row[2], row[3]) for number, row in enumerate(rows, 1)][: skip + limit]
    estimates = await _estimate(session, [(run_id, ranks) for _, run_id, ranks, _ in shown])
    visible = await visible_repos(session, viewer)
    places = []
    for number, run_id, ranks, key in shown[skip:]:
        run = await session.get_one(Run, run_id)
        repo = await session.get_one(Repo, run.repo_id)
        is_open = repo.id in visible
        places.append(
            Place(
                number=number,
                run_id=run_id,
                user=names[run.user_id],
                name=f"{names[repo.owner_id]}/{repo.name}" if is_open else "",
                wants=wants(Plan.model_validate(run.plan)),
                ranks=ranks,
                why=await waiting_seen_by(session, run, viewer) if is_open else "",
                since=run.created_at,
                turns=max(round((key - run.created_at) / TURN_S), 0),
                starts_in_s=estimates.get(run_id),
            )
        )
    return Order(places, len(rows), await _turns(session, names), first, before)


async def _turns(session: AsyncSession, names: dict[int, str]) -> list[Turn]:
    """Of everybody who waits, the one who goes first at the top."""
    counts = select(Run.user_id, func.count(), func.max(Rank.queue_key)).join(Run, Run.id == Rank.run_id)
    waiting = await session.execute(counts.where(Rank.state == State.QUEUED).group_by(Run.user_id))
    running = select(Run.user_id, func.count()).join(Rank, Rank.run_id == Run.id)
    at_work = await session.execute(running.where(Rank.state.in_(LIVE)).group_by(Run.user_id))
    works = dict(at_work.all())
    now = time.time()
    turns = [  # as hermes.fairness.queue_key
        Turn(names[user_id], ranks, works.get(user_id, 0), max(last + 1.0 - now, TURN_S * ranks))
        for user_id, ranks, last in waiting.all()
    ]
    return sorted(turns, key=lambda turn: turn.later_s)


async def _estimate(session: AsyncSession, queued: list[tuple[int, int]]) -> dict[int, float]:
    """{run: seconds until its first rank starts}, if everything takes as long as it took before and whoever
    is first takes the first GPU that is free. Only for whole GPUs: CPUs fit in too many ways."""
    free = await _free_in_s(session)
    found: dict[int, float] = {}
    for run_id, ranks in queued:
        run = await session.get_one(Run, run_id)
        plan = Plan.model_validate(run.plan)
        count = plan.gpu.count
        if not count or plan.gpu.share:
            continue
        lasts_s = await usual_s(session, run.repo_id)
        if count > len(free) or lasts_s is None:
            break  # from here on nobody can tell
        for number in range(min(ranks, _MOST_RANKS)):
            taken = [heapq.heappop(free) for _ in range(count)]
            if number == 0:
                found[run_id] = taken[-1]
            for _ in taken:
                heapq.heappush(free, taken[-1] + lasts_s)
    return found


async def _free_in_s(session: AsyncSession) -> list[float]:
    """In how many seconds each GPU that is fit will be free, as a heap."""
    left = await times_left(session)
    held: dict[str, float] = {}
    live = select(Rank.run_id, Rank.number, Rank.slot).where(Rank.state.in_(LIVE), Rank.gpu_count > 0)
    for run_id, number, slot in await session.execute(live):
        left_s = max(left.get((run_id, number), (0.0, ""))[0], 0.0)
        held |= {uuid: max(held.get(uuid, 0.0), left_s) for uuid in (slot or {}).get("gpus", ())}
    alive = await runners(session)
    fit = {gpu["uuid"] for row in alive for gpu in row.gpus if gpu["uuid"] not in row.quarantine}
    free = [held.get(uuid, 0.0) for uuid in fit]
    heapq.heapify(free)
    return free
