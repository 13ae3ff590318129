"""A run once more with other values: read, checked and said in the words of the manifest and of a push."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hermes.errors import Refused, UserError
from hermes.gpu import GpuWant
from hermes.manifest import BuildPart, GpuPart, Manifest, RanksPart, RunPart
from hermes.manifest_file import explain
from hermes.options import PARAMETER
from hermes.plan import MAX_RANKS, Instance, Plan, beyond, gpu_want

#: What may be another value than in the run before, by the manifest's key.
KEYS = (
    "run.args",
    "run.env",
    "run.timeout",
    "run.cpus",
    "run.memory",
    "gpu.count",
    "gpu.memory",
    "ranks.parameters",
    "ranks.repeat",
)
P = TypeVar("P", bound=BaseModel)
Parameters = list[dict[str, str]]


class Wrong(UserError):
    """What is wrong, by key: a form says each where its field stands. "" is the whole."""

    def __init__(self, problems: Mapping[str, str], hint: str = "") -> None:
        super().__init__("; ".join(problems.values()), hint)
        self.problems = problems


@dataclass(frozen=True)
class Grid:
    """The ranks of a plan as the manifest makes them: each set of parameters so many times."""

    parameters: Parameters
    repeat: int


def grid_of(plan: Plan) -> Grid:
    """The other way round than a plan is made."""
    sets: Parameters = []
    lengths: list[int] = []
    for row in plan.ranks:
        if sets and sets[-1] == row:
            lengths[-1] += 1
        else:
            sets.append(row)
            lengths.append(1)
    if len(set(lengths)) == 1:
        return Grid(sets, lengths[0])
    return Grid(list(plan.ranks), 1)


def parse_parameters(lines: Sequence[str]) -> Parameters:
    """One rank a line: `n=1000 name="two words"`. Raises Wrong."""
    rows: Parameters = []
    for number, line in enumerate(lines, 1):
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise Wrong({"ranks.parameters": f"line {number}: {error}"}) from None
        pairs = [word.partition("=") for word in words]
        for name, equals, _ in pairs:
            if not equals or not PARAMETER.fullmatch(name):
                raise Wrong({"ranks.parameters": f"line {number}: write NAME=VALUE, not {name[:80]!r}"})
        rows.append({name: value for name, _, value in pairs})
    return rows


def change(
    plan: Plan, values: Mapping[str, Any], here: Instance, unread: Mapping[str, str] | None = None
) -> Plan:
    """The plan with other values, {key of KEYS: value as in a manifest}. Raises Wrong with all that is wrong,
    `unread` too: what could not even be read as a value."""
    problems = {key: f"{key} cannot be changed for one run" for key in values if key not in KEYS}
    problems |= unread or {}
    raw = _tables(plan, values)
    run = _part(RunPart, "run", raw["run"], problems)
    gpu = _part(GpuPart, "gpu", raw["gpu"], problems)
    ranks = _part(RanksPart, "ranks", raw["ranks"], problems)
    parameters = values.get("ranks.parameters", grid_of(plan).parameters)
    if (words := _unlike(parameters)) and "ranks.parameters" not in problems:
        problems["ranks.parameters"] = words
    elif len(parameters) * ranks.repeat > MAX_RANKS:
        problems["ranks.repeat"] = f"{len(parameters)} × {ranks.repeat}: more than {MAX_RANKS} ranks"
    manifest = Manifest(run=run, gpu=gpu, build=BuildPart(timeout=plan.build_timeout_s))
    want, warnings, hint = _allowed(plan, manifest, here, problems)
    if problems:
        raise Wrong(problems, hint)
    return plan.model_copy(
        update={
            "args": run.args,
            "env": run.env,
            "timeout_s": run.timeout,
            "cpus": run.cpus,
            "memory_bytes": run.memory,
            "gpu": want,
            "warnings": warnings,
        }
        | _ranks(values, parameters, ranks.repeat)
    )


def _ranks(values: Mapping[str, Any], parameters: Parameters, repeat: int) -> dict[str, Any]:
    """They keep their numbers, unless they are others."""
    if "ranks.parameters" not in values and "ranks.repeat" not in values:
        return {}
    return {"ranks": [row for row in parameters for _ in range(repeat)], "numbers": [], "of_world": 0}


def _tables(plan: Plan, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of a manifest that asks for this plan, with the other values put in."""
    want = plan.gpu
    raw: dict[str, dict[str, Any]] = {
        "run": {
            "args": plan.args,
            "env": plan.env,
            "timeout": plan.timeout_s,
            "cpus": plan.cpus,
            "memory": plan.memory_bytes,
            "network": plan.network,
        },
        "gpu": {
            "count": want.count,
            "memory": want.memory_bytes or None,
            "capability": want.capability or None,
            "model": want.model or None,
            "share": want.share,
            "pool": want.pool or None,
        },
        "ranks": {"repeat": grid_of(plan).repeat},
    }
    for key, value in values.items():
        table, _, name = key.partition(".")
        if key in KEYS and key != "ranks.parameters":
            raw[table][name] = value
    return raw


def _part(model: type[P], table: str, raw: dict[str, Any], problems: dict[str, str]) -> P:
    """The checked table; what is wrong with it goes to `problems`, and the rest may be looked at further."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        wrong = {str(each["loc"][0]): each for each in reversed(error.errors())}
        for name, each in wrong.items():
            problems.setdefault(f"{table}.{name}", f"{table}.{explain(model, each)}")
        return model.model_validate({name: value for name, value in raw.items() if name not in wrong})


def _unlike(parameters: Any) -> str:
    """Why this is no list of parameters, if it is none."""
    if not isinstance(parameters, list) or not parameters:
        return "ranks.parameters: one table of NAME = VALUE for each rank, at least one"
    for row in parameters:
        if not isinstance(row, dict) or not all(
            PARAMETER.fullmatch(str(name))
            and isinstance(value, str)
            and len(value) <= 4096
            and "\0" not in value
            for name, value in row.items()
        ):
            return "ranks.parameters: names are letters, digits and _; values are text of 4096 at most"
        if any("\0" in value for value in row.values()):
            return "ranks.parameters: no value may hold a NUL"
    return ""


def _allowed(
    plan: Plan, manifest: Manifest, here: Instance, problems: dict[str, str]
) -> tuple[GpuWant, list[str], str]:
    """As a push would be looked at on this instance: the GPU it gets, warnings, and the next step where
    something is refused; that goes to `problems`, at the key that its words begin with."""
    refused = list(beyond(manifest, here))
    want, warnings = GpuWant(), list[str]()
    try:
        want, warnings = gpu_want(manifest.gpu, plan.language, here, False, True)
    except Refused as error:
        refused.append(error)
    for each in refused:
        words = str(each)
        key = next((each for each in KEYS if words.startswith(each)), "")
        problems.setdefault(key or ("gpu.count" if "GPU" in words else ""), words)
    return want, warnings, refused[0].hint if refused else ""
