"""Puts right what a crash or a lost ring left behind. Idempotent; runs in every process, all the time."""

import asyncio
import random
import time

from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes import pushes
from hermes.clock import Clock
from hermes.errors import Unavailable
from hermes.git import run_git
from hermes.journal import log
from hermes.leases import expire
from hermes.process import Context
from hermes.queue import BUILDS, CHANGED, RANKS, SCHEDULES
from hermes.states import Event, State
from hermes.tables import Build, Push, Rank, Run
from hermes.threads import in_thread
from hermes.transitions import move

_HALF_PUSH_S = 60.0
_CHANCE_S = 2.0  # owners who could not renew their leases try again each second
_SETTLE_S = 5.0  # git children of a killed receiver end within that


async def keep_reconciling(context: Context, *, receives: bool = False) -> None:
    """Reconcile for ever; a database that is away is waited for. Who `receives` pushes is the only one that
    does: what was half done when it began, nobody is at any more."""
    began, clock, silent = time.time(), Clock(context.settings.lease), _Silent()
    while True:
        await asyncio.sleep(silent.wait_s or context.settings.poll * random.uniform(0.8, 1.2))  # spread out
        try:
            now = time.time()
            until = now if clock.is_steady() else 0.0
            is_new = receives and now - began > _SETTLE_S and not clock.was_set
            await reconcile(context, silent, until, began if is_new else 0.0)
            await context.failed.write(context.database)
        except Unavailable as error:
            silent.since = 0.0
            log.warning("reconcile failed", error=str(error))


class _Silent:
    """Owners whose leases have ended; `since`: before then, in Unix seconds, 0 where there are none. They get
    a moment in which we could write, and so could they: a database that was away or locked has let nobody
    show that they live."""

    def __init__(self) -> None:
        self.since = 0.0

    @property
    def wait_s(self) -> float:
        """How long the moment is."""
        return _CHANCE_S if self.since else 0.0

    def had_their_chance(self, until: float) -> float:
        """Whose lease ended before that; called where we can write. The others are looked at again."""
        before, self.since = self.since, until
        return before


async def reconcile(context: Context, silent: _Silent, until: float, nobody_before: float) -> None:
    """One pass: leases that ended before `until`, cancelled work that nobody holds, half-done pushes; of
    these all from before `nobody_before`, those whose end we could not write down, and what is older than a
    minute."""
    half_before, known = max(time.time() - _HALF_PUSH_S, nobody_before), frozenset(context.half)
    async with context.database.read() as session:
        due = await _is_due(session, until)
        half = await _half_pushes(session, half_before, known)
    if due:
        # after a full disk owners could not show yet that they live
        is_sure = not context.room.was_short(context.settings.lease)
        async with context.database.write() as session:
            before = silent.had_their_chance(until if is_sure else 0.0)
            ended = await expire(session, before) if before else 0
            ended += await _end_cancelled(session)
        if ended:
            await context.doorbell.ring(BUILDS, RANKS, CHANGED)
    else:
        silent.since = 0.0
    for push in half:
        await resolve_push(context, push)
    context.half.difference_update(known)


async def _is_due(session: AsyncSession, until: float) -> bool:
    """Reading first keeps an idle instance from writing, and one question costs it less than four."""
    stale = [select(table.id).where(table.lease_until < until) for table in (Build, Rank)]
    stale += [_cancelled_builds(), _cancelled_ranks()]
    return bool(await session.scalar(select(or_(*(query.exists() for query in stale)))))


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


async def _half_pushes(session: AsyncSession, before: float, known: frozenset[int]) -> list[Push]:
    is_nobodys = or_(Push.created_at < before, Push.id.in_(known))
    half = select(Push).where(Push.state == "received", is_nobodys).limit(100)
    return list((await session.scalars(half)).all())


async def resolve_push(context: Context, push: Push) -> None:
    """A push whose end nobody saw: what moved the ref since, or else the ref, tells whether it happened."""
    seen = await in_thread(_has_moved, context, push)
    async with context.database.write() as session:
        told = await _told_by_others(session, push)
        if seen if told is None else told:
            await pushes.apply(session, push)
        else:
            await pushes.abandon(session, push, "the ref did not move")
    await context.doorbell.ring(BUILDS, RANKS, SCHEDULES, CHANGED)


async def _told_by_others(session: AsyncSession, push: Push) -> bool | None:
    """Somebody whose push was not answered pushes again: the ref is then where it should be, and this push
    has not moved it. None: the pushes before and after it on its ref do not tell."""
    applied = select(Push).where(Push.repo_id == push.repo_id, Push.ref == push.ref, Push.state == "applied")
    after = (await session.scalars(applied.where(Push.id > push.id).order_by(Push.id).limit(1))).first()
    before = (
        await session.scalars(applied.where(Push.id < push.id).order_by(Push.id.desc()).limit(1))
    ).first()
    if after is not None and after.old_sha == push.new_sha:
        return True
    if any(each is not None and each.old_sha == push.old_sha for each in (before, after)):
        return False  # of two that found the ref there, the other one moved it
    return None


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
