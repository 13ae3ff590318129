"""Columns of numbers as a plot: coordinates for an SVG. Its curves differ in colour, dash and mark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from web.tabular import Series, Table

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 10, 34
_MOST_POINTS = 400
_MARKS = 8  # on one curve
_TICKS = 5
#: Marks around the point where the pen is, one for each curve of a plot.
MARKS = (
    "m-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0z",
    "m-3,-3h6v6h-6z",
    "m0,-4l4,7h-8z",
    "m0,-4l4,4l-4,4l-4,-4z",
    "m-3,-3l6,6m-6,0l6,-6",
    "m-4,0h8m-4,-4v8",
)


@dataclass(frozen=True)
class Tick:
    """Where on an axis, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Curve:
    """`path` is empty where points in no order have no line; `points` are those that get a mark."""

    name: str
    path: str
    points: list[tuple[float, float]]
    mark: str


@dataclass(frozen=True)
class Plot:
    """All that the template draws."""

    x_name: str
    curves: list[Curve]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    words: str  # for who cannot see it


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float
    length: float

    def at(self, value: float) -> float:
        """In the SVG's coordinates. Halves, because a difference of huge numbers may be infinite."""
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return round(self.start + share * self.length, 1)

    def ticks(self) -> list[Tick]:
        """At round numbers."""
        step = _step(self.high / _TICKS - self.low / _TICKS)
        first = math.ceil(self.low / step)
        values = [(first + i) * step for i in range(2 * _TICKS)]
        return [Tick(self.at(value), _label(value)) for value in values if value <= self.high]


def draw(table: Table) -> Plot | None:
    """None: there is nothing to draw."""
    if not table.series:
        return None
    rows = range(1, table.rows + 1)
    across: Sequence[float] = table.x.known if table.x else rows
    x = _axis(across, LEFT, WIDTH - LEFT - RIGHT)
    all_values = [value for series in table.series for value in series.known]
    y = _axis(all_values, HEIGHT - BOTTOM, TOP + BOTTOM - HEIGHT)
    if x is None or y is None:
        return None
    is_ordered = all(one <= other for one, other in pairwise(across))
    curves = [
        _curve(series, across, (x, y), mark, is_ordered)
        for series, mark in zip(table.series, MARKS, strict=False)
    ]
    x_name = table.x.name if table.x else "row"
    names = ", ".join(curve.name for curve in curves)
    words = f"{names} over {x_name}, {table.rows} rows, from {_label(y.low)} to {_label(y.high)}"
    return Plot(x_name, curves, x.ticks(), y.ticks(), words)


def _axis(values: Sequence[float], start: float, length: float) -> _Axis | None:
    low, high = min(values), max(values)
    if low == high:
        low, high = low - max(abs(low) * 0.05, 0.5), high + max(abs(high) * 0.05, 0.5)
    is_drawable = math.isfinite(low) and math.isfinite(high) and high / 2 - low / 2 > 1e-300
    return _Axis(low, high, start, length) if is_drawable else None


def _curve(
    series: Series, across: Sequence[float], axes: tuple[_Axis, _Axis], mark: str, is_ordered: bool
) -> Curve:
    x, y = axes
    bucket = max(len(across) * 2 // _MOST_POINTS, 1)
    parts, points, pen = [], [], "M"
    for at in range(0, len(across), bucket):
        known = [(v, i) for i, v in enumerate(series.values[at : at + bucket], at) if v is not None]
        if not known:
            pen = "M"  # a gap
            continue
        for i in sorted({min(known)[1], max(known)[1]}):  # a peak of one row is still seen
            point = (x.at(across[i]), y.at(series.values[i] or 0.0))
            points.append(point)
            parts.append(f"{pen}{point[0]},{point[1]}")
            pen = "L"
    if not is_ordered:
        return Curve(series.name, "", points, mark)
    apart = max(len(points) // _MARKS, 1)
    return Curve(series.name, "".join(parts), points[apart // 2 :: apart], mark)


def _step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least as much."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _label(value: float) -> str:
    digits, _, power = f"{value:.4g}".partition("e")
    return (f"{digits}e{int(power)}" if power else digits).replace("-", "−")
