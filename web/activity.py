"""Runs and builds as lines of a list: what, of which commit, how it went, how long, when."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from hermes.cause import read_cause, why
from hermes.instance import gpu_names
from hermes.states import TERMINAL, State
from hermes.tables import Build, Rank, Run, User
from hermes.words import placed
from web.lookup import Place, places, subjects


@dataclass(frozen=True)
class Line:
    """One run or build in a list."""

    kind: str
    id: int
    state: State
    reason: str
    place: Place
    sha: str
    subject: str
    where: str
    took_s: float | None
    created_at: float
    why: str = ""
    why_url: str = ""

    @property
    def url(self) -> str:
        """Its page."""
        return f"/{self.kind}s/{self.id}"

    @property
    def commit_url(self) -> str:
        """The page of its commit."""
        return f"/{self.place.name}/commit/{self.sha}"


def took_s(row: Run | Build | Rank) -> float | None:
    """How long it has been at work, None if it never was."""
    if row.started_at is None:
        return None
    return max((row.ended_at or time.time()) - row.started_at, 0.0)


async def run_lines(session: AsyncSession, ids: Collection[int]) -> list[Line]:
    """These runs, the newest first. Plans are not read: with their ranks they may be large."""
    if not ids:
        return []
    rows = await session.execute(
        select(Run, Build.commit_sha, User.name)
        .join(Build, Build.id == Run.build_id)
        .join(User, User.id == Run.user_id)
        .where(Run.id.in_(ids))
        .order_by(Run.id.desc())
        .options(defer(Run.plan, raiseload=True))
    )
    runs = list(rows.all())
    where = await _where(session, [run.id for run, *_ in runs])
    repos = await places(session, {run.repo_id for run, *_ in runs})
    named = await subjects(session, set(repos), {sha for _, sha, _ in runs})
    return [
        Line(
            "run", run.id, run.state, run.reason, repos[run.repo_id], sha,
            named.get((run.repo_id, sha), ""), where.get(run.id, ""), took_s(run), run.created_at,
            why(run.trigger, run.cause, user), read_cause(run.cause).url,
        )
        for run, sha, user in runs
    ]  # fmt: skip


async def build_lines(session: AsyncSession, ids: Collection[int]) -> list[Line]:
    """These builds, the newest first; likewise."""
    if not ids:
        return []
    rows = await session.execute(
        select(Build, Build.plan["image"].as_string())
        .where(Build.id.in_(ids))
        .order_by(Build.id.desc())
        .options(defer(Build.plan, raiseload=True))
    )
    builds = list(rows.all())
    repos = await places(session, {build.repo_id for build, _ in builds})
    named = await subjects(session, set(repos), {build.commit_sha for build, _ in builds})
    return [
        Line(
            "build", build.id, build.state, build.reason, repos[build.repo_id], build.commit_sha,
            named.get((build.repo_id, build.commit_sha), ""), image, took_s(build), build.created_at,
        )
        for build, image in builds
    ]  # fmt: skip


async def _where(session: AsyncSession, run_ids: Collection[int]) -> dict[int, str]:
    """Where the first rank of each run is, or was."""
    names = await gpu_names(session)
    first = select(Rank).where(Rank.run_id.in_(run_ids), Rank.position == 0)
    ranks = (await session.scalars(first)).all()
    return {rank.run_id: placed(rank, names).removeprefix("on ") for rank in ranks if rank.slot}


def moving(lines: Sequence[Line]) -> bool:
    """Whether any of them may still change by itself."""
    return any(line.state not in TERMINAL for line in lines)
