"""Finds rows for a visitor. What they may not see is NotFound, in the same words as what does not exist."""

from typing import NamedTuple, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.errors import NotFound
from hermes.repos import visible_to
from hermes.tables import Artifact, Build, Push, Rank, Repo, Run, User

R = TypeVar("R", Run, Build)


class Place(NamedTuple):
    """A repo and its owner's name."""

    repo: Repo
    owner: str

    @property
    def name(self) -> str:
        """`owner/name`."""
        return f"{self.owner}/{self.repo.name}"


async def find_run(session: AsyncSession, user: User | None, run_id: int) -> tuple[Run, Place]:
    """Raises NotFound."""
    return await _find(session, user, Run, run_id)


async def find_build(session: AsyncSession, user: User | None, build_id: int) -> tuple[Build, Place]:
    """Raises NotFound."""
    return await _find(session, user, Build, build_id)


async def see(session: AsyncSession, user: User | None, table: type[R], row_id: int) -> int:
    """The id of a run or a build that is there for them. Cheap. Raises NotFound."""
    found = select(table.id).join(Repo, Repo.id == table.repo_id)
    if await session.scalar(found.where(table.id == row_id, visible_to(user))) is None:
        raise _not_found(table)
    return row_id


async def _find(session: AsyncSession, user: User | None, table: type[R], row_id: int) -> tuple[R, Place]:
    found = await session.execute(
        select(table, Repo, User.name)
        .join(Repo, Repo.id == table.repo_id)
        .join(User, User.id == Repo.owner_id)
        .where(table.id == row_id, visible_to(user))
    )
    row = found.first()
    if row is None:
        raise _not_found(table)
    return row[0], Place(row[1], row[2])


def _not_found(table: type[Run] | type[Build]) -> NotFound:
    return NotFound(f"there is no such {table.__tablename__} that you may see")


async def find_artifact(session: AsyncSession, user: User | None, artifact_id: int) -> Artifact:
    """Raises NotFound."""
    artifact = await session.scalar(
        select(Artifact)
        .join(Run, Run.id == Artifact.run_id)
        .join(Repo, Repo.id == Run.repo_id)
        .where(Artifact.id == artifact_id, visible_to(user))
    )
    if artifact is None:
        raise NotFound("there is no such artifact that you may see")
    return artifact


def artifacts_by_rank() -> "Select[Artifact, int]":
    """Artifacts with the numbers of their ranks, in the order of lists."""
    found = select(Artifact, Rank.number).join(Rank, Rank.id == Artifact.rank_id)
    return found.order_by(Rank.number, Artifact.path)


async def find_rank(session: AsyncSession, run_id: int, asked: int | None) -> Rank:
    """By its number. Raises NotFound."""
    which = Rank.position == 0 if asked is None else Rank.number == asked
    rank = await session.scalar(select(Rank).where(Rank.run_id == run_id, which))
    if rank is None:
        raise NotFound(f"run {run_id} has no such rank")
    return rank


async def places(session: AsyncSession, repo_ids: set[int]) -> dict[int, Place]:
    """The repos of several rows."""
    rows = await session.execute(
        select(Repo, User.name).join(User, User.id == Repo.owner_id).where(Repo.id.in_(repo_ids))
    )
    return {repo.id: Place(repo, owner) for repo, owner in rows.all()}


async def subjects(session: AsyncSession, repo_ids: set[int], shas: set[str]) -> dict[tuple[int, str], str]:
    """The first line of each commit that was pushed."""
    rows = await session.execute(
        select(Push.repo_id, Push.new_sha, Push.subject).where(
            Push.repo_id.in_(repo_ids), Push.new_sha.in_(shas)
        )
    )
    return {(repo_id, sha): subject for repo_id, sha, subject in rows.all()}
