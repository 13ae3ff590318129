"""Why a run waits, in words: for its build, for a runner, for what somebody holds; and its place."""

import math
import statistics
import time
from bisect import bisect_left
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.instance import gpu_names, runners
from hermes.leases import is_due
from hermes.plan import Plan
from hermes.quarantine import list_quarantined
from hermes.repos import visible_to
from hermes.states import LIVE, State
from hermes.tables import Build, Rank, Repo, Run, Runner, User
from hermes.units import show_limit, show_span
from hermes.usage import gpu_time_s

_EARLIER = 5  # runs that tell how long the next one takes


@dataclass(frozen=True)
class Bounds:
    """How many ranks a runner lets run at a time, and of one user, and their GPU time; 0: no bound."""

    ranks: int = 0
    user_ranks: int = 0
    user_gpu_time: float = 0.0


async def waiting_for(session: AsyncSession, run: Run) -> str:
    """What a queued run waits for, said to its user."""
    return await waiting_seen_by(session, run, await session.get_one(User, run.user_id))


async def waiting_seen_by(session: AsyncSession, run: Run, viewer: User | None) -> str:
    """What a queued run waits for, as this viewer may know it: what is hidden from them is not named."""
    return await Queue(session, viewer).why(run)


class Queue:
    """Says of many queued runs why they wait; what is the same for several of them is looked up once."""

    def __init__(self, session: AsyncSession, viewer: User | None) -> None:
        self._session, self._viewer = session, viewer
        self._runners: list[Runner] | None = None
        self._bounds: dict[tuple[int, bool], str] = {}
        self._holders: dict[bool, str] = {}
        self._first_keys: dict[int, float] | None = None
        self._in_order: list[float] = []

    async def why(self, run: Run) -> str:
        """In words that follow `waiting`."""
        session = self._session
        due = select(Rank.id).where(Rank.run_id == run.id, is_due(Rank, time.time())).limit(1)
        of_run = select(Build.state, due.scalar_subquery()).where(Build.id == run.build_id)
        build, due_rank = (await session.execute(of_run)).one()
        if build is not State.BUILT:
            return f"for build {run.build_id}, which is {build}"
        if self._runners is None:
            self._runners = await runners(session)
        if not self._runners:
            return "for a runner: none is alive"
        if due_rank is None:
            return f"trying again soon: {await _last_reason(session, run)}"
        of_gpus = Plan.model_validate(run.plan).gpu.count > 0
        if (run.user_id, of_gpus) not in self._bounds:
            bounds = Bounds(**self._runners[0].bounds)
            self._bounds[run.user_id, of_gpus] = await _bound(session, run, bounds, of_gpus)
        if bound := self._bounds[run.user_id, of_gpus]:
            return bound
        if of_gpus not in self._holders:
            away = await _away(session) if of_gpus else ""
            self._holders[of_gpus] = await _holder(session, of_gpus, self._viewer) or away
        place = ordinal(await self._place(run.id))
        return f"{self._holders[of_gpus] or 'for a free place'}, you are {place}"

    async def _place(self, run_id: int) -> int:
        """Among the runs with ranks that could start now, by the first of them."""
        if self._first_keys is None:
            first = (
                select(Rank.run_id, func.min(Rank.queue_key))
                .join(Run, Run.id == Rank.run_id)
                .join(Build, Build.id == Run.build_id)
                .where(Rank.state == State.QUEUED, Build.state == State.BUILT)
                .group_by(Rank.run_id)
            )
            self._first_keys = dict((await self._session.execute(first)).all())
            self._in_order = sorted(self._first_keys.values())
        return bisect_left(self._in_order, self._first_keys.get(run_id, math.inf)) + 1


async def _bound(session: AsyncSession, run: Run, bounds: Bounds, of_gpus: bool) -> str:
    """The operator's bound that keeps it waiting, if one does."""
    live = select(func.count()).select_from(Rank).where(Rank.state.in_(LIVE))
    if bounds.ranks and (await session.scalar(live) or 0) >= bounds.ranks:
        return f"for a run to end: {bounds.ranks} at a time is the limit here (HERMES_RANKS)"
    theirs = live.join(Run, Run.id == Rank.run_id).where(Run.user_id == run.user_id)
    if bounds.user_ranks and (await session.scalar(theirs) or 0) >= bounds.user_ranks:
        return f"for a run of the same user to end: {bounds.user_ranks} at a time (HERMES_USER_RANKS)"
    if bounds.user_gpu_time and of_gpus:
        used_s = (await gpu_time_s(session, time.time())).get(run.user_id, 0.0)
        if used_s >= bounds.user_gpu_time:
            limit = show_limit(bounds.user_gpu_time)
            return f"for GPU time: its user had {show_span(used_s)} of {limit} in the last 24 hours"
    return ""


async def _away(session: AsyncSession) -> str:
    """Nobody holds a GPU, and still there is none: those in quarantine, and who can end it."""
    found = await list_quarantined(session)
    if not found:
        return ""
    first = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{first.name}{more} in quarantine ({first.reason}) until an operator releases it"


async def _last_reason(session: AsyncSession, run: Run) -> str:
    reason = select(Rank.reason).where(Rank.run_id == run.id, Rank.reason != "").limit(1)
    return await session.scalar(reason) or ""


async def _holder(session: AsyncSession, of_gpus: bool, viewer: User | None) -> str:
    """`GPU 0 (H200) held by bob/nbody (run 5), about 2 m 10 s left`: the one with the least time left."""
    visible = select(Repo.id).where(visible_to(viewer)).scalar_subquery()
    rows = await session.execute(
        select(Rank, Run, Repo.name, User.name, Repo.id.in_(visible))
        .join(Run, Run.id == Rank.run_id)
        .join(Repo, Repo.id == Run.repo_id)
        .join(User, User.id == Repo.owner_id)
        .where(Rank.state.in_(LIVE))
    )
    names = await gpu_names(session)
    best, least_s = "", float("inf")
    for rank, run, repo, owner, may_know in rows.all():
        held = [names.get(uuid, uuid) for uuid in (rank.slot or {}).get("gpus", [])]
        if of_gpus and not held:
            continue
        left_s, how = await _left_s(session, rank, run)
        if left_s < least_s:
            who = f"{owner}/{repo} (run {run.id})" if may_know else owner
            least_s = left_s
            what = " and ".join(held) if held else "the CPUs"
            best = f"{what} held by {who}, {how} {show_span(max(round(left_s), 1))} left"
    return best


async def times_left(session: AsyncSession) -> dict[tuple[int, int], tuple[float, str]]:
    """{(run, number of the rank): (seconds, `about` or `at most`)} of what is at work now."""
    rows = await session.execute(
        select(Rank, Run).join(Run, Run.id == Rank.run_id).where(Rank.state.in_(LIVE))
    )
    return {(run.id, rank.number): await _left_s(session, rank, run) for rank, run in rows.all()}


async def _left_s(session: AsyncSession, rank: Rank, run: Run) -> tuple[float, str]:
    """How long a rank will still run: `about`, by what its repository's last runs took, or `at most`, by its
    limit, when there were none or it takes longer this time."""
    now = time.time()
    passed_s = now - (rank.started_at or rank.claimed_at or now)
    usual = await usual_s(session, run.repo_id)
    if usual is not None and (left_s := usual - passed_s) > 0:
        return left_s, "about"
    return Plan.model_validate(run.plan).timeout_s - passed_s, "at most"


async def usual_s(session: AsyncSession, repo_id: int) -> float | None:
    """What the last runs of a repository took, the median; None: there were none."""
    earlier = select(Run.started_at, Run.ended_at).where(Run.repo_id == repo_id, Run.state == State.SUCCEEDED)
    rows = await session.execute(earlier.order_by(Run.id.desc()).limit(_EARLIER))
    spans = [ended - started for started, ended in rows if ended and started]
    return statistics.median(spans) if spans else None


def ordinal(number: int) -> str:
    """`1st`, `12th`."""
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
