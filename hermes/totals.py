"""The figures of all ranks of a run together: longest time, highest peaks, sums of what was used."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.columns import Json
from hermes.tables import Rank

_HIGHEST = {"wall_s": float, "peak_memory_bytes": int, "gpu_peak_memory_bytes": int}
_SUMS = {"cpu_s": float, "gpu_busy_s": float, "artifacts": int}


def totals(summaries: Iterable[Json | None]) -> dict[str, Any]:
    """Of ranks that were read; only what was measured."""
    found = [each for each in summaries if each]
    figures: dict[str, Any] = {}
    for key in _HIGHEST:
        if values := [each[key] for each in found if key in each]:
            figures[key] = max(values)
    for key in _SUMS:
        if values := [each[key] for each in found if key in each]:
            figures[key] = round(sum(values), 3)
    return figures


async def totals_of(session: AsyncSession, run_id: int) -> dict[str, Any]:
    """The same, summed up by the database: a run may have 10,000 ranks."""
    highest = [func.max(Rank.summary[key].as_float()) for key in _HIGHEST]
    sums = [func.sum(Rank.summary[key].as_float()) for key in _SUMS]
    row = (await session.execute(select(*highest, *sums).where(Rank.run_id == run_id))).one()
    kinds = {**_HIGHEST, **_SUMS}
    pairs = zip(kinds.items(), row, strict=True)
    return {key: kind(round(value, 3)) for (key, kind), value in pairs if value is not None}
