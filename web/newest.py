"""The newest runs and builds of many repositories, found through an index however few of all they are."""

from collections.abc import Collection, Iterable

from sqlalchemy import ColumnElement, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.repos import visible_to
from hermes.tables import Build, Repo, Run, User

Table = type[Run] | type[Build]


async def newest_in(
    session: AsyncSession, table: Table, may: ColumnElement[bool], most: int, before: int = 0
) -> list[int]:
    """Ids of the newest rows (older than `before`, unless that is 0) in the repositories of a condition on
    Repo. Only the `most` of them with the newest rows can have one: each is asked for its own."""
    older = table.id < before if before else table.id.is_not(None)
    last = select(func.max(table.id)).where(table.repo_id == Repo.id, older).correlate(Repo).scalar_subquery()
    repos = select(Repo.id, last.label("last")).where(may).order_by(last.desc().nulls_last()).limit(most)
    with_rows = [repo_id for repo_id, row_id in (await session.execute(repos)).all() if row_id]
    return await _merged(session, table, [(table.repo_id == repo_id) & older for repo_id in with_rows], most)


async def newest_of_builds(session: AsyncSession, build_ids: Collection[int], most: int) -> list[int]:
    """Ids of the newest runs of a few builds."""
    return await _merged(session, Run, [Run.build_id == build_id for build_id in build_ids], most)


async def newest_for(
    session: AsyncSession, table: Table, user: User, mine: ColumnElement[bool], most: int
) -> list[int]:
    """Ids of the newest rows in a user's own repositories, and of what they have asked for elsewhere."""
    theirs = select(table.id).join(Repo, Repo.id == table.repo_id).where(table.user_id == user.id)
    asked = theirs.where(visible_to(user)).order_by(table.id.desc()).limit(most)
    ids = {*(await newest_in(session, table, mine, most)), *(await session.scalars(asked)).all()}
    return sorted(ids, reverse=True)[:most]


async def _merged(
    session: AsyncSession, table: Table, conditions: Iterable[ColumnElement[bool]], most: int
) -> list[int]:
    parts = []
    for condition in conditions:
        part = select(table.id).where(condition).order_by(table.id.desc()).limit(most).subquery()
        parts.append(select(part.c.id))
    if not parts:
        return []
    ids = union_all(*parts).subquery()
    return list((await session.scalars(select(ids.c.id).order_by(ids.c.id.desc()).limit(most))).all())
