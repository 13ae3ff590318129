"""One line about a build, a run or what it waits for: the same words in the terminal and on the pages."""

import time

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.plan import Plan
from hermes.states import LIVE, State
from hermes.tables import Build, Rank, Repo, Run, User
from hermes.units import show_limit, show_size, show_span


def build_end(build: Build) -> str:
    """`built in 2.9 s`, `failed: pi.cpp:3:1: error: …`."""
    took_s = (build.ended_at or 0) - (build.started_at or build.created_at)
    if build.state is State.BUILT:
        return f"built in {show_span(took_s)}"
    return f"{build.state.replace('_', ' ')}: {build.reason}"


def run_end(run: Run, ranks: list[Rank]) -> str:
    """`succeeded in 1.21 s · GPU 0.9 s · peak 312 MiB · 2 artifacts`."""
    figures = [rank.summary or {} for rank in ranks]
    wall_s = max((each.get("wall_s", 0.0) for each in figures), default=0.0)
    state = run.state.replace("_", " ")
    parts = [f"{state} in {show_span(wall_s)}" if run.state is State.SUCCEEDED else f"{state}: {run.reason}"]
    if run.state is not State.SUCCEEDED and wall_s:
        parts.append(f"after {show_span(wall_s)}")
    if any("gpu_busy_s" in each for each in figures):
        parts.append(f"GPU {show_span(sum(each.get('gpu_busy_s', 0.0) for each in figures))}")
    if peak := max((each.get("peak_memory_bytes", 0) for each in figures), default=0):
        parts.append(f"peak {show_size(peak)}")
    if count := sum(each.get("artifacts", 0) for each in figures):
        parts.append(f"{count} artifact{'s' if count > 1 else ''}")
    return " · ".join(parts)


def placed(rank: Rank, gpus: dict[str, str]) -> str:
    """Where a rank runs: `on GPU 1 (H200)`, or the number of its CPUs. `gpus`: {UUID: name}."""
    slot = rank.slot or {}
    names = [gpus.get(uuid, uuid) for uuid in slot.get("gpus", [])]
    if names:
        return "on " + " and ".join(names)
    cpus = slot.get("cpus", 0)
    return f"on {cpus:g} CPU{'s' if cpus != 1 else ''}"


async def waiting_for(session: AsyncSession, run: Run, gpus: dict[str, str]) -> str:
    """Why a run waits: its place in the queue, who holds what it needs, and for how long at most."""
    before = await session.scalar(
        select(func.count())
        .select_from(Run)
        .where(Run.state == State.QUEUED, Run.queue_key < run.queue_key, Run.id != run.id)
    )
    place = _ordinal((before or 0) + 1)
    if not await session.scalar(
        select(Rank.id).where(Rank.run_id == run.id, Rank.not_before < time.time()).limit(1)
    ):
        return f"trying again soon: {await _last_reason(session, run)}"
    holders = await _holders(session, Plan.model_validate(run.plan).gpu.count > 0, gpus)
    return f"{holders}, you are {place}" if holders else f"for a free place, you are {place}"


async def _last_reason(session: AsyncSession, run: Run) -> str:
    return (
        await session.scalar(select(Rank.reason).where(Rank.run_id == run.id, Rank.reason != "").limit(1))
        or ""
    )


async def _holders(session: AsyncSession, of_gpus: bool, gpus: dict[str, str]) -> str:
    """`GPU 0 held by bob/nbody, 2 m 10 s left at most`; the one with the least time left."""
    rows = await session.execute(
        select(Rank, Run, Repo.name, User.name)
        .join(Run, Run.id == Rank.run_id)
        .join(Repo, Repo.id == Run.repo_id)
        .join(User, User.id == Repo.owner_id)
        .where(Rank.state.in_(LIVE))
    )
    best = ""
    least_s = float("inf")
    for rank, run, repo, owner in rows.all():
        held = [gpus.get(uuid, uuid) for uuid in (rank.slot or {}).get("gpus", [])]
        left_s = Plan.model_validate(run.plan).timeout_s - (time.time() - (rank.claimed_at or time.time()))
        if (held or not of_gpus) and left_s < least_s:
            least_s = left_s
            what = " and ".join(held) if held else "the CPUs"
            left = show_limit(max(1, round(left_s)))
            best = f"{what} held by {owner}/{repo} (run {run.id}), at most {left} left"
    return best


def _ordinal(number: int) -> str:
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
