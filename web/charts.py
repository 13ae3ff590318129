"""Telemetry as line charts: samples in, the axes, lines and words of an SVG out. Its size never changes, so a
chart that is drawn again while its run goes on moves nothing on the page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hermes.units import show_size, show_span
from web.samples import Samples

WIDTH, HEIGHT = 320, 136
LEFT, RIGHT, TOP, BOTTOM = 58, 312, 10, 112  # of the plot; beside and below it stand the units
MOST_POINTS = 600  # of a line
_MOST_LINES = 8  # line styles that can be told apart
_NICE, _NICE_BYTES = (1, 2, 4, 5, 10), (1, 1.5, 2, 3, 4, 6, 8, 10)
Series = Sequence[tuple[float, float]]


class Tick(NamedTuple):
    """A place on an axis and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """One curve: `points` as SVG wants them, the figures in words; `style` is its dash pattern."""

    name: str
    style: int
    points: str
    low: str
    high: str
    last: str


@dataclass(frozen=True)
class Chart:
    """All lines of one measure."""

    title: str
    lines: list[Line]
    rows: list[Tick]
    columns: list[Tick]

    @property
    def words(self) -> str:
        """The chart for who does not see it."""
        each = [
            f"{line.name + ': ' if line.name else ''}lowest {line.low}, highest {line.high}, last {line.last}"
            for line in self.lines
        ]
        return f"{self.title} over {self.columns[-1].label}. {'; '.join(each)}"


class Measure(NamedTuple):
    """What is drawn: its key in a GPU's sample, how its values are said, the least end of its axis."""

    key: str
    title: str
    show: Callable[[float], str]
    least_top: float
    nice: Sequence[float] = _NICE


def _in(unit: str) -> Callable[[float], str]:
    return lambda value: f"{value:.0f} {unit}"


CPU = Measure("cpu_percent", "CPU", _in("%"), 100)
MEMORY = Measure("memory_bytes", "Memory", show_size, 1 << 20, _NICE_BYTES)
OF_GPUS = (
    Measure("percent", "GPU utilisation", _in("%"), 100),
    Measure("memory_bytes", "GPU memory", show_size, 1 << 20, _NICE_BYTES),
    Measure("power_w", "GPU power", _in("W"), 50),
    Measure("celsius", "GPU temperature", _in("°C"), 50),
    Measure("mhz", "GPU clock", _in("MHz"), 500),
)


def thin(series: Series) -> Series:
    """At most MOST_POINTS: of each stretch its lowest and its highest, so that no peak is lost."""
    if len(series) <= MOST_POINTS:
        return series
    size = -(-len(series) // (MOST_POINTS // 2))
    kept: list[tuple[float, float]] = []
    for start in range(0, len(series), size):
        stretch = series[start : start + size]
        ends = {min(stretch, key=lambda pair: pair[1]), max(stretch, key=lambda pair: pair[1])}
        kept += sorted(ends)
    return kept


def round_up(value: float, nice: Sequence[float]) -> float:
    """The next number that is easy to read; sizes count in powers of 1024."""
    base = 1024.0 if nice is _NICE_BYTES else 10.0
    unit: float = base ** math.floor(math.log(value, base))
    steps = [unit * step * scale for scale in ((1, 10, 100, 1000) if base > 10 else (1,)) for step in nice]
    return next((step for step in steps if step >= value * (1 - 1e-9)), unit * base)


def draw(measure: Measure, named: Sequence[tuple[str, Series]], began: float, ended: float) -> Chart:
    """The chart of some series, each with its name."""
    most = max(value for _, series in named for _, value in series)
    top = round_up(max(most, measure.least_top), measure.nice)
    span_s = max(ended - began, 1e-9)

    def point(at: float, value: float) -> str:
        x = LEFT + (at - began) / span_s * (RIGHT - LEFT)
        return f"{x:.1f},{BOTTOM - value / top * (BOTTOM - TOP):.1f}"

    def line(number: int, name: str, series: Series) -> Line:
        values = [value for _, value in series]
        low, high, last = (measure.show(each) for each in (min(values), max(values), values[-1]))
        return Line(name, number, " ".join(point(*pair) for pair in thin(series)), low, high, last)

    rows = [Tick(BOTTOM - part * (BOTTOM - TOP), measure.show(part * top)) for part in (0, 0.5, 1)]
    marks = [(0.0, "0 s"), (0.5, show_span(span_s / 2)), (1.0, show_span(span_s))]
    columns = [Tick(LEFT + part * (RIGHT - LEFT), label) for part, label in marks]
    lines = [line(number, name, series) for number, (name, series) in enumerate(named)]
    return Chart(measure.title, lines, rows, columns)


def charts(samples: Samples, names: dict[str, str]) -> list[Chart]:
    """All that was measured; none when it was too short to be looked at twice."""
    rows = samples.rows
    if len(rows) < 2:
        return []
    began, ended = rows[0].at, rows[-1].at
    drawn = [
        draw(CPU, [("", [(each.at, each.cpu_percent) for each in rows])], began, ended),
        draw(MEMORY, [("", [(each.at, float(each.memory_bytes)) for each in rows])], began, ended),
    ]
    uuids = list(dict.fromkeys(gpu["uuid"] for each in rows for gpu in each.gpus))[:_MOST_LINES]
    for measure in OF_GPUS:
        found: dict[str, list[tuple[float, float]]] = {uuid: [] for uuid in uuids}
        for each in rows:
            for gpu in each.gpus:
                if gpu["uuid"] in found and gpu.get(measure.key) is not None:
                    found[gpu["uuid"]].append((each.at, float(gpu[measure.key])))
        named = [(names.get(uuid, "a GPU"), series) for uuid, series in found.items() if len(series) > 1]
        if named:
            drawn.append(draw(measure, named, began, ended))
    return drawn
