"""The Docker engine: where it is, whether it answers, and whether it can hold what Hermes asks of it."""

import getpass
import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from docker.errors import DockerException, ImageNotFound

from hermes.doctor.data import room_of
from hermes.doctor.findings import Finding, Look, note, ok, problem, warning
from hermes.errors import Unavailable
from hermes.executors.container import Ground
from hermes.executors.engine import check_ground, connect, engine_url, in_words
from hermes.images import ImageTable
from hermes.settings import Settings

ANSWER_S = 4
_OLDEST, _NEWEST = (20, 10), (28, 5)  # measured with these and what lies between
_DAEMON = "/etc/docker/daemon.json"


@dataclass(frozen=True)
class Engine:
    """What it says of itself, and which base images it has."""

    info: dict[str, Any]
    version: dict[str, Any]
    images: dict[str, bool]


def look_at_engine(settings: Settings, table: ImageTable) -> Look[Engine]:
    """Blocks for as long as the engine may take to answer."""
    if settings.executor == "local":
        found = "HERMES_EXECUTOR=local: what people push runs on this machine without a fence"
        return Look([note("engine", found, "with accounts of strangers: HERMES_EXECUTOR=docker")])
    url = engine_url()
    if url.startswith("unix://") and not Path(url.removeprefix("unix://")).exists():
        return Look([_missing(settings, url)])
    try:
        with closing(connect(ANSWER_S)) as api:
            there = {image.reference: _has(api, image.reference) for image in table.values()}
            engine = Engine(api.info(), api.version(), there)
            ground = _ground(api, settings)
    except (DockerException, requests.RequestException, OSError) as error:
        return Look([_away(url, error)])
    return Look([*_findings(engine), *ground, _images(engine, table)], engine)


def _ground(api: Any, settings: Settings) -> list[Finding]:
    """The runtime and the network that the operator has chosen."""
    ground = Ground(settings.network, settings.runtime)
    if ground == Ground():
        return []
    try:
        check_ground(api, ground)
    except Unavailable as error:
        found, _, step = str(error).partition("; ")
        return [problem("engine ground", found, step)]
    runtime = settings.runtime or "the engine's own"
    return [ok("engine ground", f"runtime: {runtime}; network of runs that ask for one: {settings.network}")]


def _has(api: Any, reference: str) -> bool:
    try:
        api.inspect_image(reference)
    except ImageNotFound:
        return False
    return True


def _missing(settings: Settings, url: str) -> Finding:
    """Local is taken instead where the operator has left that open (executors.choose_executor)."""
    if settings.executor == "auto" and Ground(settings.network, settings.runtime) == Ground():
        found = f"there is none at {url}: builds and runs are processes of this machine, without a fence"
        step = "install Docker; or, when all who push are trusted, HERMES_EXECUTOR=local"
        return warning("engine", found, step)
    step = "apt-get install docker.io, sudo systemctl start docker, or correct DOCKER_HOST"
    return problem("engine", f"there is none at {url}", step)


def _away(url: str, error: Exception) -> Finding:
    words = str(error)
    if "timed out" in words:
        found = f"{url} does not answer within {ANSWER_S} s: the engine hangs"
        return problem("engine", found, "journalctl -u docker -n 50; then sudo systemctl restart docker")
    if "Permission denied" in words:
        step = f"sudo usermod -aG docker {getpass.getuser()}, then log in again"
        return problem("engine", f"{url}: this user may not use the engine", step)
    step = "sudo systemctl start docker, or correct DOCKER_HOST"
    return problem("engine", f"{url}: {in_words(error)}", step)


def _findings(engine: Engine) -> list[Finding]:
    info = engine.info
    found = [_version(engine), _storage(info), _limits(info), _security(info), _restart(info)]
    if engine_url().startswith("unix://"):
        found += room_of("engine disk", Path(info.get("DockerRootDir", "/var/lib/docker")))
    return found


def _version(engine: Engine) -> Finding:
    words = str(engine.version.get("Version"))
    parts = {each["Name"]: each["Version"] for each in engine.version.get("Components") or []}
    beside = "".join(f", {name} {parts[name]}" for name in ("containerd", "runc") if name in parts)
    others = sorted({"nvidia", "runsc"} & set(engine.info.get("Runtimes") or {}))
    found = f"Docker engine {words} at {engine_url()}{beside}{''.join(f', {each}' for each in others)}"
    match = re.match(r"(\d+)\.(\d+)", words)
    number = (int(match[1]), int(match[2])) if match else _OLDEST
    if number < _OLDEST:
        return warning("engine", f"{found}: older than what was ever tried", "install Docker 20.10 or newer")
    if number > _NEWEST:
        return note("engine", f"{found}: newer than what was measured (28.5)", "hermes demo --once shows it")
    return ok("engine", found)


def _storage(info: dict[str, Any]) -> Finding:
    driver = info.get("Driver")
    if driver == "vfs":
        found = "vfs: each container is a full copy of its image, slow and large"
        return warning("engine storage", found, f'"storage-driver": "overlay2" in {_DAEMON}; make images')
    backing = dict(info.get("DriverStatus") or []).get("Backing Filesystem", "")
    return ok("engine storage", f"{driver}{f' on {backing}' if backing else ''}")


def _limits(info: dict[str, Any]) -> Finding:
    version, driver = info.get("CgroupVersion", "1"), info.get("CgroupDriver", "none")
    asked = {"memory": "MemoryLimit", "pids": "PidsLimit", "cpu": "CpuCfsQuota"}
    missing = [name for name, key in asked.items() if info.get(key) is False]
    if missing or driver == "none":
        found = f"cgroup v{version} by {driver}: no limit of {', '.join(missing) or 'anything'} holds"
        step = "cgroup_enable=memory on the kernel's command line, or an engine that is not rootless"
        return problem("engine limits", found, step)
    found = f"cgroup v{version} by {driver}: memory, processes and CPUs are limited"
    if info.get("SwapLimit") is False:
        step = "swapaccount=1 on the kernel's command line, or a machine without swap"
        return note("engine limits", f"{found}, swap is not", step)
    return ok("engine limits", found)


def _security(info: dict[str, Any]) -> Finding:
    options = [dict(part.partition("=")[::2] for part in each.split(",")) for each in _options(info)]
    names = {each.get("name", "") for each in options}
    found = ", ".join(sorted(names)) or "nothing"
    unconfined = any("unconfined" in each.values() for each in options)
    if "seccomp" not in names or unconfined:
        step = f'no "seccomp-profile" in {_DAEMON}, then restart docker; it needs a kernel with seccomp'
        return problem("engine security", f"{found}: system calls of programs are not filtered", step)
    if names & {"rootless", "userns"}:
        step = "hermes demo --once shows whether runs can write their output"
        return note("engine security", f"{found}: nothing was measured with user namespaces", step)
    return ok("engine security", found)


def _options(info: dict[str, Any]) -> list[str]:
    return [str(each) for each in info.get("SecurityOptions") or []]


def _restart(info: dict[str, Any]) -> Finding:
    if info.get("LiveRestoreEnabled"):
        return ok("engine restart", "live-restore is on: containers outlive a restart of dockerd")
    found = "live-restore is off: a restart of dockerd ends what runs; it is tried again"
    return note("engine restart", found, f'"live-restore": true in {_DAEMON}, then systemctl reload docker')


def _images(engine: Engine, table: ImageTable) -> Finding:
    missing = {name: each.reference for name, each in table.items() if not engine.images[each.reference]}
    if not missing:
        return ok("images", ", ".join(table))
    made = [name for name, reference in missing.items() if reference.startswith("hermes/")]
    pulls = [f"docker pull {each}" for each in missing.values() if not each.startswith("hermes/")]
    step = "; ".join([*(["make images"] if made else []), *pulls])
    return problem("images", f"missing in the engine: {', '.join(missing)}: builds with it are lost", step)
