"""Puts right what a crash or a lost ring left behind. Idempotent; runs in every process, all the time."""

import asyncio
import random
import time

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes import pushes
from hermes.errors import Unavailable
from hermes.git import run_git
from hermes.journal import log
from hermes.leases import expire
from hermes.process import Context
from hermes.queue import BUILDS, CHANGED, RANKS
from hermes.states import Event, State
from hermes.tables import Build, Push, Rank, Run
from hermes.threads import in_thread
from hermes.transitions import move

_HALF_PUSH_S = 60.0


async def keep_reconciling(context: Context) -> None:
    """Reconcile for ever; a database that is away is waited for."""
    while True:
        await asyncio.sleep(context.settings.poll * random.uniform(0.8, 1.2))  # processes spread out
        try:
            await reconcile(context)
            await context.failed.write(context.database)
        except Unavailable as error:
            log.warning("reconcile failed", error=str(error))


async def reconcile(context: Context) -> None:
    """One pass: expired leases, cancelled work that nobody holds, half-done pushes."""
    now = time.time()
    async with context.database.read() as session:
        due = await _is_due(session, now)
    if due:
        is_sure = not context.room.was_short(
            context.settings.lease
        )  # else owners could not show that they live
        async with context.database.write() as session:
            ended = await expire(session, now) if is_sure else 0
            ended += await _end_cancelled(session)
        if ended:
            await context.doorbell.ring(BUILDS, RANKS, CHANGED)
    for push in await _half_pushes(context, now):
        await resolve_push(context, push)


async def _is_due(session: AsyncSession, now: float) -> bool:
    """Reading first keeps an idle instance from writing."""
    stale = [select(table.id).where(table.lease_until < now).limit(1) for table in (Build, Rank)]
    stale.append(_cancelled_builds().limit(1))
    stale.append(_cancelled_ranks().limit(1))
    for query in stale:
        if (await session.execute(query)).first() is not None:
            return True
    return False


def _cancelled_builds() -> Select[int]:
    return select(Build.id).where(Build.cancel_requested_at.is_not(None), Build.state == State.QUEUED)


def _cancelled_ranks() -> Select[int]:
    return (
        select(Rank.id)
        .join(Run, Run.id == Rank.run_id)
        .where(Run.cancel_requested_at.is_not(None), Rank.state == State.QUEUED)
    )


async def _end_cancelled(session: AsyncSession) -> int:
    ended = 0
    for build in (await session.scalars(select(Build).where(Build.id.in_(_cancelled_builds())))).all():
        ended += await move(session, build, Event.CANCEL, "cancelled")
    for rank in (await session.scalars(select(Rank).where(Rank.id.in_(_cancelled_ranks())))).all():
        ended += await move(session, rank, Event.CANCEL, "cancelled")
    return ended


async def _half_pushes(context: Context, now: float) -> list[Push]:
    async with context.database.read() as session:
        found = await session.scalars(
            select(Push).where(Push.state == "received", Push.created_at < now - _HALF_PUSH_S).limit(100)
        )
        return list(found.all())


async def resolve_push(context: Context, push: Push) -> None:
    """A push whose end nobody saw: its ref tells whether it happened."""
    moved = await in_thread(_has_moved, context, push)
    async with context.database.write() as session:
        if moved:
            await pushes.apply(session, push)
        else:
            await pushes.abandon(session, push, "the ref did not move")
    await context.doorbell.ring(BUILDS, RANKS, CHANGED)


def _has_moved(context: Context, push: Push) -> bool:
    """Whether the ref is, or has been and moved on from, what was pushed."""
    repo = context.paths.repo(push.repo_id)
    try:
        current = run_git(repo, "rev-parse", "--verify", "--quiet", push.ref).decode().strip()
    except Unavailable:  # there is no such ref
        current = "0" * 40
    if current in (push.old_sha, push.new_sha):
        return current == push.new_sha
    try:
        run_git(repo, "merge-base", "--is-ancestor", push.new_sha, push.ref)
    except Unavailable:
        return False
    return True
