"""What a push asks for, decided: manifest, facts of the tree and this instance make a Plan or a refusal."""

import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from hermes.errors import Refused
from hermes.images import ImageTable, choose_image
from hermes.manifest import GpuPart, Manifest, RanksPart
from hermes.units import show_limit, show_size

MAX_RANKS = 10_000


class GpuWant(BaseModel):
    """What one rank needs of GPUs; `memory_bytes` is the least of each, and with `share` what is reserved."""

    model_config = ConfigDict(frozen=True)
    count: int = 0
    memory_bytes: int = 0
    capability: str = ""
    model: str = ""
    share: bool = False


class Plan(BaseModel):
    """Everything about a build and its run that does not change any more; stored as JSON."""

    model_config = ConfigDict(frozen=True)
    name: str
    version: str = ""
    language: str
    public: bool = False
    image: str
    reference: str
    handler: str = ""  # empty: `make run` if the Makefile has it, else ./a.out
    target: str = ""
    build_timeout_s: float
    args: list[str] = []
    env: dict[str, str] = {}
    stdin: str = ""
    timeout_s: float
    cpus: float
    memory_bytes: int
    artifacts: list[str] = []
    gpu: GpuWant = GpuWant()
    ranks: list[dict[str, str]] = [{}]  # the parameters of each rank
    warnings: list[str] = []
    runs: bool = True  # False: build, and stop there

    def build_inputs(self) -> str:
        """A digest of all that the image depends on besides the commit."""
        inputs = [self.reference, self.target, self.handler]
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Gpu:
    """One GPU as NVML lists it; `index` is what people call it."""

    uuid: str
    index: int
    model: str
    memory_bytes: int
    capability: str

    def fits(self, want: GpuWant) -> bool:
        """Whether this GPU is of the kind that is wanted, busy or not."""
        return (
            self.memory_bytes >= want.memory_bytes
            and _version(self.capability) >= _version(want.capability)
            and want.model.lower() in self.model.lower()
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part)


@dataclass(frozen=True)
class Instance:
    """What this instance has and allows. `gpus` None: no runner has reported yet, so nobody knows."""

    images: ImageTable
    max_timeout_s: float
    gpus: tuple[Gpu, ...] | None = None
    cpus: float = 0.0
    memory_bytes: int = 0
    waits_for_gpu: bool = False


@dataclass(frozen=True)
class Tree:
    """What the policy needs to know of a commit."""

    paths: frozenset[str]
    default_name: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def language(self) -> str:
        """`cuda` if there is any .cu file, else `cpp`."""
        return "cuda" if any(path.endswith(".cu") for path in self.paths) else "cpp"


def make_plan(manifest: Manifest, tree: Tree, here: Instance, *, ancestor: bool, runs: bool) -> Plan:
    """Raises Refused, in words that a newcomer understands, when it can never work here."""
    if not tree.paths & {"Makefile", "makefile", "GNUmakefile"}:
        raise Refused(
            "there is no Makefile at the top of this commit",
            "Hermes runs `make`, then your program: add one (`git push -o skip` only stores commits)",
        )
    language = manifest.language or tree.language
    image = choose_image(here.images, manifest.build.image, language)
    run = manifest.run
    if run.stdin and run.stdin not in tree.paths:
        raise Refused(
            f"run.stdin = {run.stdin!r}: no such file in this commit", "commit it, or leave the key out"
        )
    _check_limits(manifest, here)
    gpu, warnings = _gpu_want(manifest.gpu, language, here, ancestor, runs)
    return Plan(
        name=manifest.name or tree.default_name,
        version=manifest.version or "",
        language=language,
        public=manifest.public,
        image=image,
        reference=here.images[image].reference,
        handler=manifest.handler or "",
        target=manifest.build.target,
        build_timeout_s=manifest.build.timeout,
        args=run.args,
        env=run.env,
        stdin=run.stdin or "",
        timeout_s=run.timeout,
        cpus=run.cpus,
        memory_bytes=run.memory,
        artifacts=run.artifacts,
        gpu=gpu,
        ranks=_rank_parameters(manifest.ranks, tree.parameters),
        warnings=warnings,
        runs=runs,
    )


def _check_limits(manifest: Manifest, here: Instance) -> None:
    run = manifest.run
    for key, value in (("run.timeout", run.timeout), ("build.timeout", manifest.build.timeout)):
        if value > here.max_timeout_s:
            raise Refused(
                f"{key} = {show_limit(value)}: this instance allows {show_limit(here.max_timeout_s)} at most",
                "lower it, or ask the operator to raise HERMES_MAX_TIMEOUT",
            )
    if here.gpus is None:
        return
    if "cpus" in run.model_fields_set and run.cpus > here.cpus:
        raise Refused(f"run.cpus = {run.cpus:g}: this instance has {here.cpus:g}", "lower run.cpus")
    if "memory" in run.model_fields_set and run.memory > here.memory_bytes:
        has = show_size(here.memory_bytes)
        raise Refused(f"run.memory = {show_size(run.memory)}: this instance has {has}", "lower run.memory")


def _gpu_want(
    asked: GpuPart, language: str, here: Instance, ancestor: bool, runs: bool
) -> tuple[GpuWant, list[str]]:
    count = asked.count if asked.count is not None else int(language == "cuda")
    want = GpuWant(
        count=count,
        memory_bytes=asked.memory or 0,
        capability=asked.capability or "",
        model=asked.model or "",
        share=asked.share,
    )
    if asked.share and count and not asked.memory:
        raise Refused(
            "gpu.share = true needs gpu.memory: how much of the GPU is reserved for each rank",
            'set it to what nvidia-smi shows while the program runs, for example memory = "2G"',
        )
    if not count or not runs or here.gpus is None:
        return want, []
    if not here.gpus and here.waits_for_gpu:
        return want, ["this instance has no GPU now; the run waits until one is there"]
    if not here.gpus and ancestor:
        return GpuWant(), ["gpuCapable: this instance has no GPU, so the run gets none"]
    if not here.gpus:
        raise Refused(
            "this instance has no GPU",
            "set gpu.count = 0 in hermes.toml, or push with `-o build-only` to compile and stop there; "
            "an operator can set HERMES_WITHOUT_GPU=wait to let such runs wait",
        )
    fitting = [gpu for gpu in here.gpus if gpu.fits(want)]
    if len(fitting) < count:
        has = ", ".join(f"{g.model} ({show_size(g.memory_bytes)}, {g.capability})" for g in here.gpus)
        raise Refused(f"[gpu] asks for {_show_want(want)}: impossible on this instance", f"it has: {has}")
    return want, []


def _show_want(want: GpuWant) -> str:
    parts = [f"{want.count} GPU{'s' if want.count > 1 else ''}"]
    parts += [f"of {show_size(want.memory_bytes)}"] if want.memory_bytes else []
    parts += [f"with capability {want.capability}"] if want.capability else []
    return " ".join(parts + ([f"of model {want.model}"] if want.model else []))


def _rank_parameters(ranks: RanksPart, parameters: dict[str, str]) -> list[dict[str, str]]:
    """One set of parameters a rank: the matrix in order, each combination `repeat` times."""
    combinations: list[Any] = list(itertools.islice(itertools.product(*ranks.matrix.values()), MAX_RANKS + 1))
    if len(combinations) * ranks.repeat > MAX_RANKS:
        raise Refused(f"[ranks] makes more than {MAX_RANKS} ranks", "lower repeat or shorten the matrix")
    rows = [dict(zip(ranks.matrix, values, strict=True)) for values in combinations]
    return [parameters | row for row in rows for _ in range(ranks.repeat)]


def substitute(words: list[str], values: dict[str, str]) -> list[str]:
    """Each `{name}` of a known name replaced; other braces are the program's own business."""

    def value(match: re.Match[str]) -> str:
        return values.get(match[1], match[0])

    return [re.sub(r"\{([^{}]+)\}", value, word) for word in words]  # one pass: values are not read again
