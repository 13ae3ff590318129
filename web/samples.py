"""The samples of a rank's newest attempt, as many as a page can use, however long it ran."""

from typing import Any, NamedTuple

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.tables import GpuSample, Rank

MOST_READ = 3000  # 50 minutes at one a second; of a longer run every second one, every third one …


class Sample(NamedTuple):
    """One moment."""

    at: float
    cpu_percent: float
    memory_bytes: int
    gpus: list[Any]


class Samples(NamedTuple):
    """In the order of time; `every` says that each so-manieth was read."""

    rows: list[Sample]
    every: int


async def read_samples(session: AsyncSession, rank: Rank) -> Samples:
    """The first and the last one are always among them."""
    mine = (GpuSample.rank_id == rank.id, GpuSample.attempt == rank.attempt)
    count = await session.scalar(select(func.count()).select_from(GpuSample).where(*mine)) or 0
    every = max(-(-count // MOST_READ), 1)
    place = func.row_number().over(order_by=GpuSample.at)
    numbered = select(GpuSample.id, place.label("place")).where(*mine).subquery()
    columns = select(GpuSample.at, GpuSample.cpu_percent, GpuSample.memory_bytes, GpuSample.gpus)
    if every == 1:
        query = columns.where(*mine)
    else:
        chosen = or_(numbered.c.place % every == 1, numbered.c.place == count)
        query = columns.join(numbered, numbered.c.id == GpuSample.id).where(chosen)
    rows = await session.execute(query.order_by(GpuSample.at))
    return Samples([Sample(*row) for row in rows.all()], every)
