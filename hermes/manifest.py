"""The manifest: what a repo says about how it is built and run. Every key is optional.

`hermes.toml` is ours; `hermes.config.json` is the ancestor's and is accepted unchanged
(https://github.com/hermes-serverless/cli, packages/cli-resources). docs/manifest.md explains each key.
"""

import re
import shlex
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from hermes.arguments import MOST as MOST_ARGS
from hermes.arguments import AsText, Text
from hermes.packages import MOST, check_package
from hermes.timetable import Timetable
from hermes.units import parse_size_bytes, parse_span_s

NAMES = ("hermes.toml", "hermes.config.json")  # in this order of preference


def _command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"not a command line: {error}") from None
    if not words:
        raise ValueError("must name a program, for example ./a.out")
    return text


def _inside(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError("must be a path inside the repository, without ..")
    return path


def _word(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,99}", text):
        raise ValueError("must be one word of letters, digits and _ . + / -")
    return text


_OWN_ENV = re.compile(r"(HERMES|NVIDIA|LD|CUDA_VISIBLE)_.*|PATH|RANK|WORLD_SIZE|MASTER_(ADDR|PORT)")


def _environment(env: dict[str, str]) -> dict[str, str]:
    for name, value in env.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", name):
            raise ValueError(f"{name[:40]!r} is not the name of a variable")
        if _OWN_ENV.fullmatch(name):
            raise ValueError(f"{name} is set by Hermes and cannot be changed here")
        if "\0" in value or len(value) > 32_768:
            raise ValueError(f"the value of {name} is too long or holds a NUL")
    return env


def _patterns(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_SPAN_SCHEMA = {
    "type": ["string", "number"],
    "description": "seconds, or 90s, 15m, 1h30m",
    "examples": ["15m"],
}
_SIZE_SCHEMA = {"type": ["string", "integer"], "description": "bytes, or 512M, 4G", "examples": ["4G"]}
Span = Annotated[float, BeforeValidator(parse_span_s), WithJsonSchema(_SPAN_SCHEMA)]
Size = Annotated[int, BeforeValidator(parse_size_bytes), Field(ge=1 << 20), WithJsonSchema(_SIZE_SCHEMA)]
Path = Annotated[str, AfterValidator(_inside), Field(min_length=1, max_length=1024)]
Capability = Annotated[str, AsText, Field(pattern=r"^\d{1,2}\.\d$")]


_PATTERN = {"type": "string", "minLength": 1, "maxLength": 256}
_PATTERNS_SCHEMA = {"anyOf": [_PATTERN, {"type": "array", "items": _PATTERN, "minItems": 1, "maxItems": 64}]}
Patterns = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=256)]],
    BeforeValidator(_patterns),
    Field(min_length=1, max_length=64),
    WithJsonSchema(_PATTERNS_SCHEMA),
]


class Part(BaseModel):
    """A table of the manifest: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BuildPart(Part):
    """How `make` is called."""

    image: Annotated[str, Field(description="base image that this instance offers")] = ""
    dockerfile: Annotated[
        Path | None, Field(description="makes the base image, where the operator allows it")
    ] = None
    target: Annotated[str, AfterValidator(_word)] = ""
    packages: Annotated[list[Annotated[str, AfterValidator(check_package)]], Field(max_length=MOST)] = []
    timeout: Span = 900.0


class RunPart(Part):
    """How the program is started and what it may use."""

    args: Annotated[list[Text], Field(max_length=MOST_ARGS)] = []
    env: Annotated[dict[str, Text], AfterValidator(_environment)] = {}
    stdin: Path | None = None
    timeout: Span = 3600.0
    cpus: Annotated[float, Field(gt=0, le=1024)] = 2.0
    memory: Size = 4 << 30
    network: bool = False
    artifacts: Annotated[list[Path], Field(max_length=64)] = []
    retries: Annotated[int, Field(ge=0, le=10)] = 0


class GpuPart(Part):
    """Which GPUs each rank holds. `count` unset: 1 for CUDA, 0 for C++."""

    count: Annotated[int, Field(ge=0, le=64)] | None = None
    memory: Size | None = None
    capability: Capability | None = None
    model: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    share: bool = False
    pool: Annotated[str, Field(min_length=1, max_length=100)] | None = None


class RanksPart(Part):
    """How many instances one run has."""

    repeat: Annotated[int, Field(ge=1, le=10_000)] = 1
    parallel: bool = False
    same_host: bool = True
    matrix: dict[str, Annotated[list[Text], Field(min_length=1, max_length=1000)]] = {}


class OnPart(Part):
    """What starts a run."""

    push: list[str] | None = None
    supersede: bool = False
    schedule: Timetable = []
    upload: Patterns | None = None


class ReportPart(Part):
    """What is said to where a commit came from, besides its state."""

    comment: bool = False


class Manifest(Part):
    """The whole file, with the defaults filled in."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_][a-z0-9_.-]{0,99}$")] | None = None
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] | None = None
    language: Literal["cuda", "cpp"] | None = None
    handler: Annotated[str, AfterValidator(_command), Field(max_length=4096)] | None = None
    public: bool = False
    build: BuildPart = BuildPart()
    run: RunPart = RunPart()
    gpu: GpuPart = GpuPart()
    ranks: RanksPart = RanksPart()
    on: OnPart = OnPart()
    report: ReportPart = ReportPart()


#: Keys that are part of the contract and have no effect in this version: refused, never ignored.
NOT_YET: dict[tuple[str, str], Any] = {
    ("ranks", "parallel"): False,
    ("ranks", "same_host"): True,
}

#: What the message of a failed pattern says instead of the pattern.
RULES: dict[str, str] = {
    "name": 'use a-z 0-9 _ . -, for example "pi-montecarlo"',
    "version": 'use three numbers, for example "1.0.0"',
    "capability": 'use a compute capability such as "8.0" or "9.0"',
    "functionName": 'use a-z 0-9 _ -, for example "pi-montecarlo"',
    "functionVersion": 'use three numbers, for example "1.0.0"',
}


class AncestorManifest(BaseModel):
    """`hermes.config.json`, all of its keys; any x.y.z version (the ancestor's own tool took one digit)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    functionName: Annotated[str, Field(pattern=r"^[a-z0-9_][a-z0-9_-]*$", max_length=100)] | None = None
    functionVersion: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] | None = None
    language: Literal["cuda", "cpp"] | None = None
    gpuCapable: bool | None = None
    scope: Literal["public", "private"] = "private"
    handler: Annotated[str, AfterValidator(_command)] | None = None
    imageName: str | None = None


def from_ancestor(old: AncestorManifest) -> Manifest:
    """The ancestor's manifest in our words; `gpuCapable` is one GPU where this instance has one."""
    made = Manifest(
        name=old.functionName,
        version=old.functionVersion,
        language=old.language,
        handler=old.handler,
        gpu=GpuPart(count=None if old.gpuCapable is None else int(old.gpuCapable)),
    )
    if "scope" not in old.model_fields_set:
        return made
    return made.model_copy(update={"public": old.scope == "public"})


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `hermes.toml`, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}
