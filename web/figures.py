"""What all ranks of a run used together: summed by the database, ten thousand rows are not loaded for it."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.states import TERMINAL
from hermes.tables import Rank

_TOGETHER: dict[str, tuple[Any, type]] = {
    "wall_s": (func.max, float),
    "peak_memory_bytes": (func.max, int),
    "gpu_peak_memory_bytes": (func.max, int),
    "cpu_s": (func.sum, float),
    "gpu_busy_s": (func.sum, float),
    "artifacts": (func.sum, int),
}


async def sum_up(session: AsyncSession, run_id: int) -> dict[str, Any]:
    """Sums of times, peaks of memory; only what was measured."""
    columns = [together(Rank.summary[key].as_float()) for key, (together, _) in _TOGETHER.items()]
    row = (await session.execute(select(*columns).where(Rank.run_id == run_id))).one()
    found = zip(_TOGETHER.items(), row, strict=True)
    return {key: round(kind(value), 3) for (key, (_, kind)), value in found if value is not None}


async def verdict_rank(session: AsyncSession, run_id: int) -> Rank | None:
    """The rank whose exit code speaks for the run: the first that failed, else the first."""
    ended = select(Rank).where(Rank.run_id == run_id, Rank.state.in_(TERMINAL), Rank.exit_code != 0)
    failed: Rank | None = await session.scalar(ended.order_by(Rank.number).limit(1))
    if failed is not None:
        return failed
    first: Rank | None = await session.scalar(select(Rank).where(Rank.run_id == run_id, Rank.number == 0))
    return first
