"""The metrics that programs print, read for pages and the API."""

from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.tables import Metric, Rank


class Measured(NamedTuple):
    """The last value of one name that a rank printed."""

    rank: int
    name: str
    value: float
    unit: str
    at: float


async def metrics_of(
    session: AsyncSession, run_ids: Collection[int], ranks_below: int = 1
) -> dict[int, list[Measured]]:
    """Those of the first ranks of each run, by rank and name. With one rank a run it speaks for its run."""
    rows = await session.execute(
        select(Rank.run_id, Rank.number, Metric.name, Metric.value, Metric.unit, Metric.at)
        .join(Metric, Metric.rank_id == Rank.id)
        .where(Rank.run_id.in_(run_ids), Rank.position < ranks_below)
        .order_by(Rank.run_id, Rank.number, Metric.name)
    )
    found: dict[int, list[Measured]] = defaultdict(list)
    for run_id, *values in rows.all():
        found[run_id].append(Measured._make(values))
    return found


async def metrics_of_rank(session: AsyncSession, rank: Rank) -> list[Measured]:
    """By name."""
    rows = await session.scalars(select(Metric).where(Metric.rank_id == rank.id).order_by(Metric.name))
    return [Measured(rank.number, each.name, each.value, each.unit, each.at) for each in rows.all()]


def show_number(value: float) -> str:
    """`0.25`, `812.5`, `1234567`, `1.5e-05`: five digits, and no exponent where people need none."""
    return f"{value:.0f}" if 1e5 <= abs(value) < 1e9 else f"{value:.5g}"
