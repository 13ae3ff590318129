"""Telemetry as small line charts: samples in, points of an SVG out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.tables import GpuSample, Rank
from hermes.units import show_size, show_span

WIDTH, HEIGHT = 300, 64
_MOST_POINTS = 300
_MOST_GPUS = 8


@dataclass(frozen=True)
class Chart:
    """One curve: `points` as SVG wants them, the rest in words."""

    title: str
    points: str
    peak: str
    last: str
    span: str

    @property
    def area(self) -> str:
        """The curve, closed along the bottom."""
        first, last = self.points.split(" ", 1)[0], self.points.rsplit(" ", 1)[-1]
        return f"{first.split(',')[0]},{HEIGHT} {self.points} {last.split(',')[0]},{HEIGHT}"


def _percent(value: float) -> str:
    return f"{value:.0f} %"


def draw(
    title: str, series: Sequence[tuple[float, float]], show: Callable[[float], str], least_top: float
) -> Chart:
    """A chart of (time, value), at least two of them; `least_top` keeps an idle curve flat."""
    bucket = -(-len(series) // _MOST_POINTS)
    thin = [max(series[i : i + bucket], key=lambda pair: pair[1]) for i in range(0, len(series), bucket)]
    began, ended = series[0][0], series[-1][0]
    top = max(least_top, max(value for _, value in thin))
    points = " ".join(
        f"{(at - began) / max(ended - began, 1e-9) * WIDTH:.1f},{HEIGHT - 2 - value / top * (HEIGHT - 6):.1f}"
        for at, value in thin
    )
    peak = show(max(value for _, value in series))
    return Chart(title, points, peak, show(series[-1][1]), show_span(ended - began))


async def charts(session: AsyncSession, rank: Rank, names: dict[str, str]) -> list[Chart]:
    """Of the newest attempt of a rank; none if it was too short to be sampled twice."""
    rows = await session.scalars(
        select(GpuSample)
        .where(GpuSample.rank_id == rank.id, GpuSample.attempt == rank.attempt)
        .order_by(GpuSample.at)
    )
    samples = rows.all()
    if len(samples) < 2:
        return []
    drawn = [
        draw("CPU", [(each.at, each.cpu_percent) for each in samples], _percent, 100),
        draw("Memory", [(each.at, each.memory_bytes) for each in samples], show_size, 1 << 20),
    ]
    uuids = list(dict.fromkeys(gpu["uuid"] for each in samples for gpu in each.gpus))
    for uuid in uuids[:_MOST_GPUS]:
        name = names.get(uuid, "GPU")
        for key, what, show, top in (
            ("percent", "", _percent, 100),
            ("memory_bytes", " memory", show_size, 1 << 20),
            ("power_w", " power", lambda watts: f"{watts:.0f} W", 50),
        ):
            series = [
                (each.at, float(gpu[key]))
                for each in samples
                for gpu in each.gpus
                if gpu["uuid"] == uuid and gpu.get(key) is not None
            ]
            if len(series) > 1:
                drawn.append(draw(name + what, series, show, top))
    return drawn
