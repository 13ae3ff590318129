"""What a push asks for, decided: manifest, facts of the tree and this instance make a Plan or a refusal."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from hermes.commit_facts import Tree, check_tree
from hermes.dockerfiles import check_dockerfile, image_of
from hermes.errors import Refused
from hermes.gpu import Gpu, GpuWant
from hermes.images import ImageTable, choose_image
from hermes.manifest import GpuPart, Manifest, RanksPart
from hermes.packages import check_packages
from hermes.pools import PoolTable, open_pools
from hermes.timetable import ScheduleWant
from hermes.units import show_limit, show_size

MAX_RANKS = 10_000


class Plan(BaseModel):
    """Everything about a build and its run that does not change any more; stored as JSON."""

    model_config = ConfigDict(frozen=True)
    name: str
    version: str = ""
    language: str
    public: bool | None = None  # None: the manifest does not say
    image: str
    reference: str
    dockerfile: str = ""  # of the tree; the engine makes `reference` of it
    makes: bool = True  # False: the tree has no Makefile, its Dockerfile does all
    packages: list[str] = []  # Debian's, in a layer above the image
    handler: str = ""  # empty: `make run` if the Makefile has it, else ./a.out
    target: str = ""
    build_timeout_s: float
    args: list[str] = []
    env: dict[str, str] = {}
    stdin: str = ""
    timeout_s: float
    cpus: float
    memory_bytes: int
    network: bool = False
    retries: int = 0  # of the program's own failures
    artifacts: list[str] = []
    gpu: GpuWant = GpuWant()
    ranks: list[dict[str, str]] = [{}]  # the parameters of each rank
    numbers: list[int] = []  # of each rank; empty: from 0. Some ranks of an earlier run keep theirs,
    of_world: int = 0  # and are told how many there were; 0: as many as there are now
    warnings: list[str] = []
    runs: bool = True  # False: build, and stop there
    comment: bool = False  # on the pull request, if it came from one
    caches: bool = True  # False: a stranger's build, which could leave something in the cache of all others
    supersedes: bool = False  # what older commits of its branch have queued and run is cancelled
    keeps_result: bool = False  # all of stdout in a file of its own (an invocation)
    schedules: list[ScheduleWant] = []  # of its branch, if that is the default one
    uploads: list[str] = []  # patterns: such a file starts a run when it is uploaded
    input_file: str = ""  # the one that started this run, below its input directory

    @property
    def world_size(self) -> int:
        """How many ranks there are, as they are told."""
        return self.of_world or len(self.ranks)

    def numbered(self) -> list[tuple[int, dict[str, str]]]:
        """Each rank's number and parameters, by number."""
        return list(zip(self.numbers or range(len(self.ranks)), self.ranks, strict=True))

    def shape(self) -> str:
        """A digest of what each rank asks for: those of one shape fit or do not fit alike. None ("") for what
        has to be learned: it changes."""
        if self.gpu.share and not self.gpu.memory_bytes:
            return ""
        wants = [self.cpus, self.memory_bytes, self.gpu.model_dump()]
        return hashlib.sha256(json.dumps(wants).encode()).hexdigest()[:16]

    def build_inputs(self) -> str:
        """A digest of all that the image depends on besides the commit."""
        inputs = [self.reference, self.target, self.handler, *self.packages]
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Instance:
    """What this instance has and allows. `gpus` None: no runner has reported yet, so nobody knows."""

    images: ImageTable
    max_timeout_s: float
    gpus: tuple[Gpu, ...] | None = None
    cpus: float = 0.0
    memory_bytes: int = 0
    waits_for_gpu: bool = False
    network: bool = False
    packages: str = "on"  # as HERMES_PACKAGES
    dockerfiles: bool = False
    pools: PoolTable = field(default_factory=dict)
    is_unfenced: bool = False  # no engine holds what runs here (hermes.trust)

    def as_seen_by(self, user: str) -> "Instance":
        """Only with the pools that are open to this user, and their GPUs."""
        if not self.pools:
            return self
        mine = open_pools(self.pools, user)
        gpus = None if self.gpus is None else tuple(gpu for gpu in self.gpus if gpu.pool in mine)
        return replace(self, gpus=gpus, pools={name: self.pools[name] for name in mine if name})


def make_plan(manifest: Manifest, tree: Tree, here: Instance, *, ancestor: bool, runs: bool) -> Plan:
    """Raises Refused, in words that a newcomer understands, when it can never work here."""
    check_tree(manifest, tree)
    language = manifest.language or tree.language
    image, reference = _choose_base(manifest, tree, here, language)
    run = manifest.run
    check_packages(manifest.build.packages, here.packages)
    check_limits(manifest, here)
    gpu, warnings = gpu_want(manifest.gpu, language, here, ancestor, runs)
    return Plan(
        name=manifest.name or tree.default_name,
        version=manifest.version or "",
        language=language,
        public=manifest.public if "public" in manifest.model_fields_set else None,
        image=image,
        reference=reference,
        dockerfile=manifest.build.dockerfile or "",
        makes=tree.has_makefile,
        packages=sorted(set(manifest.build.packages)),
        handler=manifest.handler or "",
        target=manifest.build.target,
        build_timeout_s=manifest.build.timeout,
        args=run.args,
        env=run.env,
        stdin=run.stdin or "",
        timeout_s=run.timeout,
        cpus=run.cpus,
        memory_bytes=run.memory,
        network=run.network,
        retries=run.retries,
        artifacts=run.artifacts,
        gpu=gpu,
        ranks=_rank_parameters(manifest.ranks, tree.parameters),
        warnings=warnings,
        runs=runs,
        comment=manifest.report.comment,
        supersedes=manifest.on.supersede,
        schedules=manifest.on.schedule,
        uploads=manifest.on.upload or [],
    )


def _choose_base(manifest: Manifest, tree: Tree, here: Instance, language: str) -> tuple[str, str]:
    """What people and what the engine call the image below the built tree."""
    path, named = manifest.build.dockerfile, manifest.build.image
    if path is None:
        name = choose_image(here.images, named, language)
        return name, here.images[name].reference
    if named:
        raise Refused("build.image and build.dockerfile exclude each other", "leave one of them out")
    check_dockerfile(path, tree.paths, is_on=here.dockerfiles, has_engine=not here.is_unfenced)
    return path, image_of(tree.commit_sha, path)


def check_limits(manifest: Manifest, here: Instance) -> None:
    """Raises Refused for what this instance does not allow or does not have."""
    for refused in beyond(manifest, here):
        raise refused


def beyond(manifest: Manifest, here: Instance) -> Iterator[Refused]:
    """All of that."""
    run = manifest.run
    for key, value in (("run.timeout", run.timeout), ("build.timeout", manifest.build.timeout)):
        if value > here.max_timeout_s:
            yield Refused(
                f"{key} = {show_limit(value)}: this instance allows {show_limit(here.max_timeout_s)} at most",
                "lower it, or ask the operator to raise HERMES_MAX_TIMEOUT",
            )
    if run.network and not here.network:
        yield Refused(
            "run.network = true: programs have no network on this instance",
            "commit what it needs, or ask the operator to set HERMES_NETWORK",
        )
    if here.gpus is None:
        return
    if "cpus" in run.model_fields_set and run.cpus > here.cpus:
        yield Refused(f"run.cpus = {run.cpus:g}: this instance has {here.cpus:g}", "lower run.cpus")
    if "memory" in run.model_fields_set and run.memory > here.memory_bytes:
        has = show_size(here.memory_bytes)
        yield Refused(f"run.memory = {show_size(run.memory)}: this instance has {has}", "lower run.memory")


def gpu_want(
    asked: GpuPart, language: str, here: Instance, ancestor: bool, runs: bool
) -> tuple[GpuWant, list[str]]:
    """What is asked for, and warnings. Raises Refused for what can never be had here."""
    count = asked.count if asked.count is not None else int(language == "cuda")
    want = GpuWant(
        count=count,
        memory_bytes=asked.memory or 0,
        capability=asked.capability or "",
        model=asked.model or "",
        share=asked.share,
        pool=asked.pool or "",
    )
    if want.pool and want.pool not in here.pools:
        offered = ", ".join(here.pools) or "none"
        raise Refused(f"gpu.pool = {want.pool!r}: no such pool for you here", f"open to you: {offered}")
    if not count or not runs or here.gpus is None:
        return want, []
    learns = ["gpu.share without gpu.memory: it has a GPU alone until it is known what it uses"]
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
    return want, learns if want.share and not want.memory_bytes else []


def _show_want(want: GpuWant) -> str:
    parts = [f"{want.count} GPU{'s' if want.count > 1 else ''}"]
    parts += [f"of {show_size(want.memory_bytes)}"] if want.memory_bytes else []
    parts += [f"with capability {want.capability}"] if want.capability else []
    parts += [f"of pool {want.pool}"] if want.pool else []
    return " ".join(parts + ([f"of model {want.model}"] if want.model else []))


def _rank_parameters(ranks: RanksPart, parameters: dict[str, str]) -> list[dict[str, str]]:
    """One set of parameters a rank: the matrix in order, each combination `repeat` times."""
    combinations: list[Any] = list(itertools.islice(itertools.product(*ranks.matrix.values()), MAX_RANKS + 1))
    if len(combinations) * ranks.repeat > MAX_RANKS:
        raise Refused(f"[ranks] makes more than {MAX_RANKS} ranks", "lower repeat or shorten the matrix")
    rows = [dict(zip(ranks.matrix, values, strict=True)) for values in combinations]
    return [parameters | row for row in rows for _ in range(ranks.repeat)]
