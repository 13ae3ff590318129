"""What the image of a build is made of: its base image, packages if it has any, above them the built tree."""

from dataclasses import dataclass

from hermes.paths import Paths
from hermes.plan import Plan
from hermes.stages import Layer, read_layers, read_stages
from hermes.states import TERMINAL, State
from hermes.tables import Build
from hermes.units import show_span

_THERE = "cached: on this machine before"


@dataclass(frozen=True)
class Row:
    """`made`: by this build, or there before it, in words."""

    name: str
    what: str
    made: str
    size_bytes: int | None
    digest: str = ""


def image_layers(paths: Paths, build: Build, removed: str) -> list[Row]:
    """From below. Reads a small file: blocks."""
    plan = Plan.model_validate(build.plan)
    log = paths.log("build", build.id, build.attempt)
    took = {stage.name: stage.took_s or 0.0 for stage in read_stages(log)}
    layers = read_layers(log)
    below = "Dockerfile" if plan.dockerfile else "Base image"
    rows = [_row(below, each, took.pop("dockerfile", 0.0)) for each in layers[:1]]
    if not rows:
        rows = [Row(below, plan.image, "the machine itself" if "tree" in took else "not recorded", None)]
    rows += [_row("Packages", each, took.pop("packages", 0.0)) for each in layers[1:]]
    if plan.packages and not layers[1:]:
        rows.append(Row("Packages", ", ".join(plan.packages), "not recorded", None))
    return [
        *rows,
        Row("/app", "the built tree", _made(paths, build, sum(took.values()), removed), build.image_bytes),
    ]


def _row(name: str, layer: Layer, took_s: float) -> Row:
    made = f"made by this build in {show_span(took_s)}, and kept" if layer.made else _THERE
    return Row(name, layer.name, made, layer.size_bytes, layer.digest)


def _made(paths: Paths, build: Build, took_s: float, removed: str) -> str:
    if build.state is not State.BUILT:
        return "not made" if build.state in TERMINAL else "not made yet"
    made = f"made by this build in {show_span(took_s)}" if took_s else "made by this build"
    return made if paths.image(build.id).exists() else f"{made}; {removed or 'removed since'}"
