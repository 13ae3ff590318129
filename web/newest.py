"""The newest runs and builds of many repositories, found through an index however few of all they are."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.repos import visible_to
from hermes.tables import Build, Repo, Run, User

Table = type[Run] | type[Build]
NO_BOUND = 1 << 62  # no row has such an id


async def newest_in(
    session: AsyncSession, table: Table, may: ColumnElement[bool], most: int, before: int = NO_BOUND
) -> list[int]:
    """Ids of the newest rows (older than the row `before`) in the repositories of a condition on Repo. Only
    the `most` repositories with the newest rows can have one of them: each is asked for its own."""
    last = select(func.max(table.id)).where(table.repo_id == Repo.id, table.id < before).correlate(Repo)
    newest = last.scalar_subquery().label("last")
    repos = select(Repo.id, newest).where(may).order_by(newest.desc().nulls_last()).limit(most)
    with_rows = [repo_id for repo_id, row_id in (await session.execute(repos)).all() if row_id]
    return await _merged(session, table, "repo_id", with_rows, most, before)


async def newest_of_builds(session: AsyncSession, build_ids: Collection[int], most: int) -> list[int]:
    """Ids of the newest runs of a few builds."""
    return await _merged(session, Run, "build_id", build_ids, most, NO_BOUND)


async def newest_for(
    session: AsyncSession, table: Table, user: User, mine: ColumnElement[bool], most: int
) -> list[int]:
    """Ids of the newest rows in a user's own repositories, and of what they have asked for elsewhere."""
    theirs = select(table.id).join(Repo, Repo.id == table.repo_id).where(table.user_id == user.id)
    asked = theirs.where(visible_to(user)).order_by(table.id.desc()).limit(most)
    ids = {*(await newest_in(session, table, mine, most)), *(await session.scalars(asked)).all()}
    return sorted(ids, reverse=True)[:most]


async def _merged(
    session: AsyncSession, table: Table, column: str, values: Collection[int], most: int, before: int
) -> list[int]:
    """As text: to build and to look up a statement of so many parts would take longer than to execute it."""
    if not values:
        return []
    rows, newest = f"SELECT id FROM {table.__tablename__}", f"ORDER BY id DESC LIMIT {most:d}"
    parts = (
        f"SELECT id FROM ({rows} WHERE {column} = {value:d} AND id < {before:d} {newest}) AS part{value:d}"
        for value in values
    )
    statement = text(f"{' UNION ALL '.join(parts)} {newest}")
    return list((await session.scalars(statement)).all())
