"""One line about a build or a run: the same words in the terminal and on the pages."""

from collections.abc import Mapping
from typing import Any

from hermes.states import State
from hermes.tables import Build, Rank, Run
from hermes.totals import totals
from hermes.units import show_size, show_span


def bad_end(row: Build | Run) -> str:
    """`timed out: ran longer than …`; a reason that begins with its state says it only once."""
    state = row.state.replace("_", " ")
    return row.reason if row.reason.startswith(state) else f"{state}: {row.reason}"


def build_end(build: Build) -> str:
    """`built in 2.9 s`, `failed: pi.cpp:3:1: error: …`."""
    took_s = (build.ended_at or 0) - (build.started_at or build.created_at)
    if build.state is State.BUILT:
        return f"built in {show_span(took_s)}"
    return bad_end(build)


def run_end(run: Run, ranks: list[Rank]) -> str:
    """`succeeded in 1.21 s · GPU 0.9 s · peak 312 MiB · 2 artifacts`."""
    return end_words(run, totals(rank.summary for rank in ranks))


def end_words(run: Run, figures: Mapping[str, Any]) -> str:
    """The same, of a run whose figures are added up already (`hermes.totals`)."""
    wall_s = figures.get("wall_s", 0.0)
    parts = [f"succeeded in {show_span(wall_s)}" if run.state is State.SUCCEEDED else bad_end(run)]
    if run.state is not State.SUCCEEDED and wall_s:
        parts.append(f"after {show_span(wall_s)}")
    if "gpu_busy_s" in figures:
        parts.append(f"GPU {show_span(figures['gpu_busy_s'])}")
    if peak := figures.get("peak_memory_bytes", 0):
        parts.append(f"peak {show_size(peak)}")
    if count := figures.get("artifacts", 0):
        parts.append(f"{count} artifact{'s' if count > 1 else ''}")
    if run.state is State.SUCCEEDED and run.reason:  # what we have spoiled of it
        parts.append(run.reason)
    return " · ".join(parts)


def placed(rank: Rank, gpus: dict[str, str]) -> str:
    """Where a rank runs: `on GPU 1 (H200)`, `on 2 GiB of GPU 1 (H200)`, or the number of its CPUs. `gpus`:
    {UUID: name}."""
    slot = rank.slot or {}
    names = [gpus.get(uuid, uuid) for uuid in slot.get("gpus", [])]
    if names:
        share = f"{show_size(slot['gpu_bytes'])} of " if slot.get("gpu_bytes") else ""
        return f"on {share}{' and '.join(names)}"
    cpus = slot.get("cpus", 0)
    return f"on {cpus:g} CPU{'s' if cpus != 1 else ''}"
