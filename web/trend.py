"""How figures went from commit to commit, as points of an SVG: the verdict is in the shape, too."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hermes.states import TERMINAL
from hermes.units import show_span
from web.history import Pushed
from web.metrics import Measured, show_number

WIDTH, HEIGHT, EDGE = 600, 96, 8
MOST_POINTS, MOST_METRICS = 40, 8


class Point(NamedTuple):
    """Where it is, what it leads to, and what is said of it."""

    x: int
    y: int
    state: str
    url: str
    title: str


@dataclass(frozen=True)
class Plot:
    """One figure over commits, from the oldest to the newest."""

    name: str
    points: list[Point]
    newest: str
    least: str
    most: str

    @property
    def line(self) -> str:
        """Through all points, as SVG wants it."""
        return " ".join(f"{point.x},{point.y}" for point in self.points)


class _Value(NamedTuple):
    at: int  # its place among all commits
    pushed: Pushed
    value: float
    words: str


def _plot(name: str, values: Sequence[_Value], count: int, floor: float | None) -> Plot:
    """`floor`: where the scale begins; None: a little below the least value."""
    least, most = min(each.value for each in values), max(each.value for each in values)
    bottom = least if floor is None else floor
    height = (most - bottom) or abs(most) or 1.0
    points = [
        Point(
            x=round(EDGE + (WIDTH - 2 * EDGE) * each.at / max(count - 1, 1)),
            y=round(HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (each.value - bottom) / height),
            state=each.pushed.run.state,
            url=f"/runs/{each.pushed.run.id}",
            title=f"{each.pushed.sha[:7]} {each.words}, {each.pushed.run.state.replace('_', ' ')}",
        )
        for each in values
        if each.pushed.run
    ]
    by_value = {each.value: each.words for each in values}
    return Plot(name, points, values[-1].words, by_value[least], by_value[most])


def commits(pushes: Sequence[Pushed]) -> list[Pushed]:
    """The oldest first, each commit once, those only that ran."""
    once = {each.sha: each for each in reversed(pushes) if each.run}
    return list(once.values())[-MOST_POINTS:]


def durations(ran: Sequence[Pushed]) -> Plot | None:
    """How long runs took; None if fewer than two have ended."""
    values = [
        _Value(at, each, took_s, show_span(took_s))
        for at, each in enumerate(ran)
        if each.run and each.run.state in TERMINAL and (took_s := each.run.took_s) is not None
    ]
    return _plot("Duration", values, len(ran), 0.0) if len(values) > 1 else None


def measured_words(each: Measured) -> str:
    """`812.5 GFLOP/s`."""
    return f"{show_number(each.value)} {each.unit}".rstrip()


def metric_plots(ran: Sequence[Pushed], metrics: Callable[[int], Sequence[Measured]]) -> list[Plot]:
    """One for each name that at least two of the runs have printed; `metrics` of a run, by its id."""
    series: dict[str, list[_Value]] = {}
    for at, each in enumerate(ran):
        for found in metrics(each.run.id) if each.run else ():
            series.setdefault(found.name, []).append(_Value(at, each, found.value, measured_words(found)))
    names = sorted(name for name, values in series.items() if len(values) > 1)
    return [_plot(name, series[name], len(ran), None) for name in names[:MOST_METRICS]]
