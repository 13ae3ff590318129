"""What became of the commits of a repository, push by push: the newest build of each, and its newest run."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.pushes import BRANCHES
from hermes.refs import shown_ref
from hermes.states import State
from hermes.tables import Build, Push, Repo, Run, User


class Did(NamedTuple):
    """A build or a run, as far as lists need it: plans are not read, with their ranks they may be large."""

    id: int
    state: State
    reason: str
    began_at: float | None
    ended_at: float | None

    @property
    def took_s(self) -> float | None:
        """How long it took; None if it is not over, or never began."""
        return None if self.began_at is None or self.ended_at is None else self.ended_at - self.began_at


@dataclass(frozen=True)
class Pushed:
    """One push with the newest build of its commit and the newest run of that."""

    id: int
    ref: str
    sha: str
    subject: str
    at: float
    user: str
    build: Did | None
    run: Did | None

    @property
    def is_delete(self) -> bool:
        """Whether it took a branch away."""
        return set(self.sha) == {"0"}

    @property
    def branch(self) -> str:
        """The ref as people call it."""
        return shown_ref(self.ref)

    @property
    def state(self) -> State | None:
        """How it went: the run says it, or the build that made none."""
        if self.build and (self.build.state is not State.BUILT or not self.run):
            return self.build.state
        return self.run.state if self.run else None


async def history(
    session: AsyncSession, repo: Repo, most: int, branch: str = "", before: int = 0
) -> list[Pushed]:
    """The newest pushes, to a branch if one is named, older than the push `before` if that is not 0."""
    found = (
        select(Push.id, Push.ref, Push.new_sha, Push.subject, Push.created_at, User.name)
        .join(User, User.id == Push.user_id)
        .where(Push.repo_id == repo.id, Push.state == "applied")
    )
    if branch:
        found = found.where(Push.ref == BRANCHES + branch)
    if before:
        found = found.where(Push.id < before)
    pushes = (await session.execute(found.order_by(Push.id.desc()).limit(most))).all()
    builds = await _builds(session, repo, {sha for _, _, sha, *_ in pushes})
    runs = await _runs(session, [run_id for _, run_id in builds.values() if run_id])
    made = []
    for push_id, ref, sha, subject, at, user in pushes:
        build, run_id = builds.get(sha, (None, None))
        made.append(Pushed(push_id, ref, sha, subject, at, user, build, runs.get(run_id or 0)))
    return made


async def newest_built(session: AsyncSession, repo: Repo, branch: str = "") -> Pushed | None:
    """The newest push whose commit was built, or is being built; of the last 50."""
    return next((each for each in await history(session, repo, 50, branch) if each.build), None)


async def newest_runs(session: AsyncSession, repo: Repo, shas: Collection[str]) -> dict[str, int]:
    """{commit: its newest run}, of those that have one."""
    return {sha: run_id for sha, (_, run_id) in (await _builds(session, repo, shas)).items() if run_id}


async def _builds(
    session: AsyncSession, repo: Repo, shas: Collection[str]
) -> dict[str, tuple[Did, int | None]]:
    """{commit: its newest build and the newest run of that}."""
    run_id = select(func.max(Run.id)).where(Run.build_id == Build.id).correlate(Build).scalar_subquery()
    columns = (Build.id, Build.state, Build.reason, Build.started_at, Build.ended_at)
    rows = await session.execute(
        select(Build.commit_sha, run_id, *columns).where(
            Build.repo_id == repo.id, Build.commit_sha.in_(shas)
        )  # not in order: SQLite would rather go through all builds of the repository than sort a few
    )
    newest: dict[str, tuple[Did, int | None]] = {}
    for sha, run, *values in rows.all():
        build = Did._make(values)
        if sha not in newest or newest[sha][0].id < build.id:
            newest[sha] = (build, run)
    return newest


async def _runs(session: AsyncSession, ids: Collection[int]) -> dict[int, Did]:
    columns = (Run.id, Run.state, Run.reason, Run.started_at, Run.ended_at)
    rows = await session.execute(select(*columns).where(Run.id.in_(ids)))
    return {row[0]: Did._make(row) for row in rows.all()}


class Version(NamedTuple):
    """A function that was built here, and the newest commit that made it."""

    name: str
    version: str
    sha: str
    at: float

    @property
    def label(self) -> str:
        """`nbody:1.0.0`, or the name alone: then branches and commits tell them apart."""
        return f"{self.name}:{self.version}" if self.version else self.name


async def versions(session: AsyncSession, repo: Repo, most: int) -> list[Version]:
    """The newest first."""
    of_repo = select(func.max(Build.id)).where(Build.repo_id == repo.id, Build.state == State.BUILT)
    of_repo = of_repo.where(Build.deleted_at.is_(None))
    newest = of_repo.group_by(Build.name, Build.version).order_by(func.max(Build.id).desc()).limit(most)
    ids = (await session.scalars(newest)).all()
    rows = await session.execute(
        select(Build.name, Build.version, Build.commit_sha, Build.created_at)
        .where(Build.id.in_(ids))
        .order_by(Build.id.desc())
    )
    return [Version._make(row) for row in rows.all()]
