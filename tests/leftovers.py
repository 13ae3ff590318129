"""What there is of an instance, and what lies about when its work is done; Hermes is not asked."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from hermes.executors import instance_label
from hermes.executors.engine import connect
from hermes.executors.warm import WARM
from hermes.redis_server import socket_path
from hermes.settings import Settings
from tests.programs import command_lines
from tests.service import PATIENCE_S, Service, wait_for

_MOST_WARM = Settings().warm


def processes(service: Service, word: str = "") -> list[int]:
    """The processes of this instance: those that name it (Redis: its socket), and who has its environment."""
    data = service.environment()["HERMES_DATA"]
    mark, titles = f"HERMES_DATA={data}\0".encode(), (f" {data}", f"unixsocket:{socket_path(Path(data))}")
    found = []
    for pid, line in command_lines().items():
        with suppress(OSError):
            ours = line.endswith(titles) or mark in Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
            found += [pid] if ours and word in line else []
    return found


def the_process(service: Service, word: str) -> int:
    """The one process with this on its command line."""
    return wait_for(lambda: processes(service, word))[0]


def containers(service: Service, *, all_of_them: bool = True) -> list[str]:
    """The ids of all containers of this instance, or of those that run."""
    return [str(each["Id"]) for each in _containers(service, all_of_them=all_of_them)]


def mounts(service: Service) -> list[str]:
    """The disks of this instance that are mounted."""
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(service.data) in line]


def leftovers(service: Service) -> dict[str, list[str]]:
    """What lies about, by kind; all of it empty where nothing runs and a sweep went by."""
    data = service.data
    spool = [path.name for path in (data / "spool").glob("hermes-*")]
    boxes = [*(data / "spool" / "boxes").glob("*")]
    quarantines = [str(path) for path in (data / "repos").glob("*.git/objects/*incoming*")]
    checkpoints = [str(path) for path in (data / "checkpoints").glob("*")]
    names = {str(each["Names"][0]).lstrip("/"): str(each["State"]) for each in _containers(service)}
    taken = {target for path in boxes if (target := _target_of(path))}
    alive = ("created", "running")
    waiting = [name for name, state in names.items() if f"-{WARM}-" in name and state in alive]
    mine = [name for name in waiting if name not in taken][:_MOST_WARM]  # they are meant to be there
    folders = [path.name for path in boxes]
    found = {"spool": spool, "boxes": folders, "mounts": mounts(service), "containers": list(names)}
    found = {
        what: [each for each in some if not any(name in each for name in mine)]
        for what, some in found.items()
    }
    return found | {"git": quarantines, "checkpoints": checkpoints, "programs": _programs(service)}


def _target_of(link: Path) -> str:
    """Empty: it is none, or has just gone."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _containers(service: Service, *, all_of_them: bool = True) -> list[dict[str, Any]]:
    label = f"hermes.instance={instance_label(Settings(data=service.data))}"
    api = connect(PATIENCE_S)
    try:
        found: list[dict[str, Any]] = api.containers(all=all_of_them, filters={"label": label})
        return found
    finally:
        api.close()


def _programs(service: Service) -> list[str]:
    """Git children whose server is gone."""
    lines = command_lines()
    repos = f"{service.data}/repos/"
    return [
        line for line in lines.values() if repos in line and ("receive-pack" in line or "index-pack" in line)
    ]
