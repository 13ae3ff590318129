"""Runs and builds as lines of a list: what, of which commit, how it went, how long, when."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.instance import gpu_names
from hermes.states import TERMINAL, State
from hermes.tables import Build, Rank, Run
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


async def run_lines(session: AsyncSession, query: Select[Run]) -> list[Line]:
    """The runs of a query, in its order."""
    runs = (await session.scalars(query)).all()
    builds = await _builds(session, runs)
    where = await _where(session, runs)
    repos = await places(session, {run.repo_id for run in runs})
    named = await subjects(session, set(repos), {build.commit_sha for build in builds.values()})
    lines = []
    for run in runs:
        sha = builds[run.build_id].commit_sha
        subject = named.get((run.repo_id, sha), "")
        line = Line(
            "run", run.id, run.state, run.reason, repos[run.repo_id], sha, subject,
            where.get(run.id, ""), took_s(run), run.created_at,
        )  # fmt: skip
        lines.append(line)
    return lines


async def build_lines(session: AsyncSession, query: Select[Build]) -> list[Line]:
    """The builds of a query, in its order."""
    builds = (await session.scalars(query)).all()
    repos = await places(session, {build.repo_id for build in builds})
    named = await subjects(session, set(repos), {build.commit_sha for build in builds})
    return [
        Line(
            "build", build.id, build.state, build.reason, repos[build.repo_id], build.commit_sha,
            named.get((build.repo_id, build.commit_sha), ""), str(build.plan["image"]),
            took_s(build), build.created_at,
        )
        for build in builds
    ]  # fmt: skip


async def _builds(session: AsyncSession, runs: Sequence[Run]) -> dict[int, Build]:
    rows = await session.scalars(select(Build).where(Build.id.in_({run.build_id for run in runs})))
    return {build.id: build for build in rows.all()}


async def _where(session: AsyncSession, runs: Sequence[Run]) -> dict[int, str]:
    """Where the first rank of each run is, or was."""
    names = await gpu_names(session)
    first = select(Rank).where(Rank.run_id.in_([run.id for run in runs]), Rank.number == 0)
    ranks = (await session.scalars(first)).all()
    return {rank.run_id: placed(rank, names).removeprefix("on ") for rank in ranks if rank.slot}


def moving(lines: Sequence[Line]) -> bool:
    """Whether any of them may still change by itself."""
    return any(line.state not in TERMINAL for line in lines)
