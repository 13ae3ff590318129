"""A newer commit of a branch makes older ones pointless, where the manifest says so (`on.supersede`)."""

import time

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.states import TERMINAL, Event, State
from hermes.tables import Build, Push, Rank, Run
from hermes.transitions import move, note


async def supersede(session: AsyncSession, push: Push) -> None:
    """What older pushes to the ref of this one have queued or run is to end; builds only when nothing else
    needs them."""
    by = f"the newer commit {push.new_sha[:7]}"
    older = (Push.repo_id == push.repo_id, Push.ref == push.ref, Push.id < push.id)
    runs = select(Run).join(Push, Push.id == Run.push_id).where(*older, Run.state.not_in(TERMINAL))
    for run in (await session.scalars(runs)).all():
        await _end_run(session, run, by)
    await session.flush()
    shas = select(Push.new_sha).where(*older, Push.new_sha != push.new_sha)
    builds = select(Build).where(Build.repo_id == push.repo_id, Build.state.not_in(TERMINAL))
    for build in (await session.scalars(builds.where(Build.commit_sha.in_(shas)))).all():
        if not await _is_needed(session, build, push.ref):
            await _end_build(session, build, by)


async def _end_run(session: AsyncSession, run: Run, by: str) -> None:
    if run.cancel_requested_at is None:
        run.cancel_requested_at, run.cancelled_by = time.time(), by
        note(session, "run", run.id, (run.state, run.state), f"{by} supersedes it")
    ranks = await session.scalars(select(Rank).where(Rank.run_id == run.id, Rank.state == State.QUEUED))
    for rank in ranks.all():
        await move(session, rank, Event.CANCEL, f"cancelled by {by}")


async def _is_needed(session: AsyncSession, build: Build, ref: str) -> bool:
    """By another branch, or by a run that goes on."""
    others = select(func.count()).select_from(Push)
    same = (Push.repo_id == build.repo_id, Push.new_sha == build.commit_sha)
    others = others.where(*same, Push.ref != ref, Push.plan.is_not(None))
    waiting = select(func.count()).select_from(Run)
    waiting = waiting.where(
        Run.build_id == build.id, Run.state.not_in(TERMINAL), Run.cancel_requested_at.is_(None)
    )
    return bool(await session.scalar(others) or await session.scalar(waiting))


async def _end_build(session: AsyncSession, build: Build, by: str) -> None:
    build.cancel_requested_at = time.time()
    await session.flush()
    note(session, "build", build.id, (build.state, build.state), f"{by} supersedes it")
    if build.state is State.QUEUED:
        await move(session, build, Event.CANCEL, f"cancelled by {by}")
