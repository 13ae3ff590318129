"""What people ask of work that exists: cancel, keep, run again. Pages and the API write nothing else."""

import time

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.cause import Cause, Sender
from hermes.errors import Refused
from hermes.invocations import inputs_again
from hermes.plan import Plan
from hermes.queueing import queue_run
from hermes.states import TERMINAL, Event, State
from hermes.tables import Build, Rank, Run, User
from hermes.transitions import move, note
from hermes.words import bad_end


async def cancel_run(session: AsyncSession, run: Run, by: User) -> bool:
    """Ask for the end of a run: what waits ends now, what runs is ended by its runner. False: it is over."""
    if run.state in TERMINAL:
        return False
    if run.cancel_requested_at is None:
        run.cancel_requested_at, run.cancelled_by = time.time(), by.name
        note(session, "run", run.id, (run.state, run.state), f"{by.name} asked to cancel it")
    waiting = await session.scalars(select(Rank).where(Rank.run_id == run.id, Rank.state == State.QUEUED))
    for rank in waiting.all():
        await move(session, rank, Event.CANCEL, f"cancelled by {by.name}")
    return True


async def cancel_build(session: AsyncSession, build: Build, by: User) -> bool:
    """Ask for the end of a build, and of the runs that wait for it. False: it is over."""
    if build.state in TERMINAL:
        return False
    build.cancel_requested_at = time.time()
    await session.flush()
    note(session, "build", build.id, (build.state, build.state), f"{by.name} asked to cancel it")
    if build.state is State.QUEUED:
        await move(session, build, Event.CANCEL, f"cancelled by {by.name}")
    return True


def keep_run(session: AsyncSession, run: Run, by: User) -> bool:
    """Retention leaves alone what it has left, from now on. False: somebody keeps it already."""
    if run.kept_at is not None:
        return False
    run.kept_at, run.kept_by = time.time(), by.name
    note(session, "run", run.id, (run.state, run.state), f"{by.name} keeps it")
    return True


def release_run(session: AsyncSession, run: Run, by: User) -> bool:
    """It goes when it is old, as others do. False: nobody keeps it."""
    if run.kept_at is None:
        return False
    run.kept_at, run.kept_by = None, ""
    note(session, "run", run.id, (run.state, run.state), f"{by.name} keeps it no longer")
    return True


async def run_again(session: AsyncSession, run: Run, by: User, plan: Plan, which: str = "") -> Run:
    """Queue a run once more with this plan, without a build; `which` of its ranks, in words, if not all.
    Raises Refused if there is no image."""
    build = (await session.scalars(select(Build).where(Build.id == run.build_id))).one()
    if build.state is not State.BUILT:
        raise Refused(
            f"build {build.id} {bad_end(build)}", "there is nothing to run: push a commit that builds"
        )
    words = f"{which} of run {run.id}" if which else f"run {run.id}"
    cause = Cause(f"{words} again, by {by.name}", f"/runs/{run.id}")
    fresh = await queue_run(session, build, plan, Sender(by.id, "retry", cause))
    await inputs_again(session, run, fresh)
    return fresh
