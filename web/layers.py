"""What the image of a build is made of: its base image, and above it the built tree."""

from dataclasses import dataclass

from hermes.paths import Paths
from hermes.plan import Plan
from hermes.stages import Stage, read_base, read_stages
from hermes.states import TERMINAL, State
from hermes.tables import Build
from hermes.units import show_span


@dataclass(frozen=True)
class Layer:
    """`made`: by this build, or there before it, in words."""

    name: str
    what: str
    made: str
    size_bytes: int | None
    digest: str = ""


def image_layers(paths: Paths, build: Build) -> list[Layer]:
    """From below. Reads two small files: blocks."""
    plan = Plan.model_validate(build.plan)
    log = paths.log("build", build.id, build.attempt)
    digest, size_bytes = read_base(log) or ("", None)
    stages = read_stages(log)
    there = "cached: on this machine before" if digest else "the machine itself" if stages else "not recorded"
    base = Layer("Base image", plan.image, there, size_bytes, digest)
    return [base, Layer("/app", "the built tree", _made(paths, build, stages), build.image_bytes)]


def _made(paths: Paths, build: Build, stages: list[Stage]) -> str:
    if build.state is not State.BUILT:
        return "not made" if build.state in TERMINAL else "not made yet"
    took_s = sum(stage.took_s or 0 for stage in stages)
    made = f"made by this build in {show_span(took_s)}" if stages else "made by this build"
    return made if paths.image(build.id).exists() else f"{made}; removed since"
