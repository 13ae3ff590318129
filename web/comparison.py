"""A run beside that of the nearest earlier commit: what changed, and whether it got better."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from hermes.states import State
from hermes.tables import Repo, Run, User
from hermes.units import show_size, show_span
from web.details import RunDetails
from web.history import newest_runs
from web.lookup import Place
from web.metrics import Measured
from web.runs import run_details
from web.trend import measured_words

_NOTICEABLE, _NOTICEABLE_S, _NOTICEABLE_BYTES = 0.02, 0.1, 1 << 20  # less is noise
# Of these less is better. Of a metric nobody but its author knows.
_FIGURES: tuple[tuple[str, str, Callable[[float], str], float], ...] = (
    ("wall_s", "Wall time", show_span, _NOTICEABLE_S),
    ("cpu_s", "CPU time", show_span, _NOTICEABLE_S),
    ("gpu_busy_s", "GPU time", show_span, _NOTICEABLE_S),
    ("peak_memory_bytes", "Peak memory", show_size, _NOTICEABLE_BYTES),
    ("gpu_peak_memory_bytes", "Peak GPU memory", show_size, _NOTICEABLE_BYTES),
    ("build_s", "Build time", show_span, _NOTICEABLE_S),
)


class Row(NamedTuple):
    """One figure of both. `verdict` is `better`, `worse` or nothing."""

    name: str
    here: str
    there: str
    change: str
    verdict: str = ""


@dataclass(frozen=True)
class Comparison:
    """`back` commits earlier; `sha` is that commit, `there` its newest run."""

    sha: str
    back: int
    here: RunDetails
    there: RunDetails
    rows: list[Row]


async def compare(
    session: AsyncSession, visitor: User | None, here: RunDetails, repo: Repo, ancestors: Sequence[str]
) -> Comparison | None:
    """With the nearest ancestor that has a run; None if none of these has."""
    runs = await newest_runs(session, repo, ancestors)
    sha = next((each for each in ancestors if each in runs), None)
    if sha is None:
        return None
    run = await session.get_one(Run, runs[sha])
    there = await run_details(session, visitor, run, Place(repo, here.place.owner))
    return Comparison(sha, ancestors.index(sha) + 1, here, there, compared(here, there))


def compared(here: RunDetails, there: RunDetails) -> list[Row]:
    """Only what both have, and metrics that one of them has."""
    may_judge = here.run.state is there.run.state is State.SUCCEEDED  # what fails early is not faster
    codes = Row("Exit code", _exit_code(here), _exit_code(there), "")
    rows = [codes] if codes.here or codes.there else []
    rows += figure_rows(here.figures, there.figures, may_judge)
    rows += figure_rows(_build_figures(here), _build_figures(there), True)
    return rows + metric_rows(here.metrics, there.metrics)


def _build_figures(details: RunDetails) -> dict[str, float]:
    build = details.build
    if build.state is not State.BUILT or build.started_at is None or build.ended_at is None:
        return {}
    return {"build_s": build.ended_at - build.started_at}


def _exit_code(details: RunDetails) -> str:
    code = details.verdict.exit_code
    return "" if code is None else str(code)


def figure_rows(here: Mapping[str, Any], there: Mapping[str, Any], may_judge: bool) -> list[Row]:
    """What Hermes itself has measured."""
    rows = []
    for key, name, show, least in _FIGURES:
        if key not in here or key not in there:
            continue
        new, old = here[key], there[key]
        ratio = change(new, old)
        differs = abs(new - old) >= max(least, _NOTICEABLE * abs(old))
        verdict = ("worse" if new > old else "better") if may_judge and differs else ""
        rows.append(Row(name, show(new), show(old), show_change(ratio), verdict))
    return rows


def metric_rows(here: Sequence[Measured], there: Sequence[Measured]) -> list[Row]:
    """What the programs have printed; values of different units are not compared."""
    mine, others = ({each.name: each for each in several} for several in (here, there))
    rows = []
    for name in sorted({*mine, *others}):
        new, old = mine.get(name), others.get(name)
        same_unit = new is not None and old is not None and new.unit == old.unit
        ratio = change(new.value, old.value) if same_unit and new and old else None
        here_words, there_words = (measured_words(each) if each else "" for each in (new, old))
        rows.append(Row(name, here_words, there_words, show_change(ratio)))
    return rows


def change(new: float, old: float) -> float | None:
    """0.1 for a tenth more; None where there is no such number."""
    if new == old:
        return 0.0
    return (new - old) / abs(old) if old else None


def show_change(ratio: float | None) -> str:
    """`+12 %`, `−3.4 %`, `same`; what is more than ten times as much as a factor: `× 25`."""
    if ratio is None:
        return ""
    if abs(ratio) < 0.0005:
        return "same"
    if ratio >= 9:
        return f"× {ratio + 1:.3g}"
    sign, percent = "+" if ratio > 0 else "−", abs(ratio) * 100
    return f"{sign}{percent:.0f} %" if percent >= 10 else f"{sign}{percent:.1f} %"
