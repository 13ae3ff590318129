"""What `hermes executions list` and `inspect` show."""

import time
from collections.abc import Iterable, Iterator, Sequence

from hermes.cli.plain import clean
from hermes.cli.tables import print_table
from hermes.client import Client
from hermes.client.answers import Build, Rank, Run
from hermes.units import show_size, show_span

_COLUMNS = ("DATETIME", "RUN", "TRIGGER", "START", "DURATION", "STATUS", "EXIT", "FUNCTION", "COMMIT", "GPU")


def listed(runs: Sequence[Run], client: Client) -> None:
    """A line each, as OpenWhisk's `activation list` has them, and the GPUs."""
    names = _gpu_names(runs, client)
    print_table(_COLUMNS, [_row(run, names) for run in runs])


def _row(run: Run, names: dict[str, str]) -> tuple[str, ...]:
    gpus = {uuid for rank in run["ranks"] for uuid in (rank["slot"] or {}).get("gpus", ())}
    return (
        _at(run["created_at"]),
        str(run["id"]),
        run["trigger"],
        _start(run),
        _took(run["started_at"], run["ended_at"]),
        run["state"],
        "" if run["exit_code"] is None else str(run["exit_code"]),
        run["repo"],
        run["commit"][:7],
        ", ".join(sorted(names.get(uuid, uuid[:12]) for uuid in gpus)),
    )


def _start(run: Run) -> str:
    """Whether its first rank's box was made before it was asked for."""
    return str((run["ranks"][0]["summary"] or {}).get("start", ""))


def _gpu_names(runs: Iterable[Run], client: Client) -> dict[str, str]:
    """{UUID: `0 (H200)`}; asked only where a run has had one."""
    if not any((rank["slot"] or {}).get("gpus") for run in runs for rank in run["ranks"]):
        return {}
    machines = client.gpus()["runners"]
    return {
        gpu["uuid"]: f"{gpu['index']} ({gpu['model']})" for machine in machines for gpu in machine["gpus"]
    }


def _at(at: float | None) -> str:
    """In the time zone of this machine."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _took(began: float | None, ended: float | None) -> str:
    return "" if began is None else show_span((ended or time.time()) - began)


def inspection(run: Run, build: Build) -> str:
    """A page of lines: what it was, when, what came of it."""
    lines = [f"run {run['id']}  {run['words']}", *_facts(run, build)]
    for rank in run["ranks"] if run["rank_count"] > 1 or run["ranks"][0]["attempt"] > 1 else ():
        lines.append(_rank(rank))
    if run["rank_count"] > len(run["ranks"]):
        lines.append(f"  and {run['rank_count'] - len(run['ranks'])} more ranks")
    for file in run["artifacts"][:20]:
        lines.append(f"  artifact   {file['path']}  {show_size(file['size_bytes'])}")
    if len(run["artifacts"]) > 20:
        lines.append(f"  and {len(run['artifacts']) - 20} more: hermes artifacts {run['id']}")
    return "\n".join([*map(clean, lines), f"  {run['url']}"])


def _facts(run: Run, build: Build) -> Iterator[str]:
    version = f":{build['version']}" if build["version"] else ""
    yield f"  function   {run['repo']}{version}  commit {run['commit'][:12]}"
    yield f"  {run['why']} ({run['trigger']}) at {_at(run['created_at'])}"
    yield f"  build {build['id']:<5}{build['words'] or build['state']}{_when_built(run, build)}"
    if run["started_at"]:
        start = f" ({_start(run)} start)" if _start(run) else ""
        yield f"  waited     {show_span(max(run['started_at'] - run['created_at'], 0))}{start}"
        yield f"  ran        {_took(run['started_at'], run['ended_at'])}"
    if run["exit_code"] is not None:
        yield f"  exit code  {run['exit_code']}{' (' + run['signal'] + ')' if run['signal'] else ''}"
    if run["kept_at"]:
        yield f"  kept       by {run['kept_by']} since {_at(run['kept_at'])}"
    yield from _used(run)


def _when_built(run: Run, build: Build) -> str:
    """Whether this run waited for it."""
    built_before = build["ended_at"] is not None and build["ended_at"] <= run["created_at"]
    return ", before this run" if built_before else ""


def _used(run: Run) -> Iterator[str]:
    figures = run["summary"]
    shown = {
        "peak memory": ("peak_memory_bytes", show_size),
        "CPU time": ("cpu_s", show_span),
        "GPU busy": ("gpu_busy_s", show_span),
        "peak GPU memory": ("gpu_peak_memory_bytes", show_size),
    }
    parts = [f"{words} {show(figures[key])}" for words, (key, show) in shown.items() if key in figures]
    if parts:
        yield f"  used       {', '.join(parts)}"
    if cost := _cost(run):
        yield f"  cost       {cost}"
    slot = run["ranks"][0]["slot"] or {}
    if slot:
        gpus = ", ".join(slot.get("gpus", ())) or "no GPU"
        yield f"  slot       {slot.get('cpus', 0):g} CPUs, {show_size(slot.get('memory_bytes', 0))}, {gpus}"


def _cost(run: Run) -> str:
    """What its ranks held, for as long as they held it, used or not."""
    gpu_s = cpu_s = 0.0
    for rank in run["ranks"]:
        slot, wall_s = rank["slot"] or {}, (rank["summary"] or {}).get("wall_s", 0.0)
        gpu_s += len(slot.get("gpus", ())) * wall_s
        cpu_s += slot.get("cpus", 0.0) * wall_s
    parts = [f"{gpu_s:.3g} GPU-seconds"] * bool(gpu_s) + [f"{cpu_s:.3g} core-seconds"] * bool(cpu_s)
    return ", ".join(parts)


def _rank(rank: Rank) -> str:
    attempt = f", attempt {rank['attempt']}" if rank["attempt"] > 1 else ""
    code = "" if rank["exit_code"] is None else f", exit code {rank['exit_code']}"
    reason = f": {rank['reason']}" if rank["reason"] and rank["exit_code"] is None else ""
    took = _took(rank["started_at"], rank["ended_at"])
    return f"  rank {rank['number']:<6}{rank['state']}{reason}{code}{attempt}  {took}"
