"""A glance at rows that are watched: what would be different if the words about them were. Cheap for many."""

from collections.abc import Collection, Hashable, Mapping
from typing import NamedTuple

from sqlalchemy import func, select

from hermes.process import Context
from hermes.states import TERMINAL, State
from hermes.tables import Build, Rank, Run


class RowKey(NamedTuple):
    """Whose log it is: a build's or a rank's."""

    kind: str
    row_id: int


async def glance(context: Context, keys: Collection[RowKey]) -> Mapping[RowKey, Hashable]:
    """Of all that are there. One whose words change although its rows do not, since it waits, is left out."""
    builds = [key.row_id for key in keys if key.kind == "build"]
    ranks = [key.row_id for key in keys if key.kind == "rank"]
    of_builds = select(Build.id, Build.state, Build.attempt, Build.cancel_requested_at)
    of_ranks = (
        select(Rank.id, Rank.run_id, Rank.state, Rank.attempt, Run.state, Run.cancel_requested_at)
        .join(Run, Run.id == Rank.run_id)
        .where(Rank.id.in_(ranks), Run.state != State.QUEUED)
    )
    of_runs = select(Rank.run_id, func.count(Rank.id)).where(Rank.state.in_(TERMINAL)).group_by(Rank.run_id)
    found: dict[RowKey, Hashable] = {}
    async with context.database.read() as session:
        if builds:
            for build in await session.execute(of_builds.where(Build.id.in_(builds))):
                found[RowKey("build", build[0])] = tuple(build)
        if ranks:
            rows = (await session.execute(of_ranks)).all()
            runs = {row[1] for row in rows}
            counts = await session.execute(of_runs.where(Rank.run_id.in_(runs)))
            ended = {run_id: count for run_id, count in counts}
            for rank in rows:
                found[RowKey("rank", rank[0])] = (*rank, ended.get(rank[1]))
    return found
