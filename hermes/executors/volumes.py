"""The places of a box where no disk can be mounted: volumes of the engine, without a bound."""

from contextlib import suppress
from typing import Any

from docker.errors import NotFound

from hermes.executors.base import Task
from hermes.executors.container import FOLDERS, USER

_WAIT_S = 60.0
_CHOWN_ONLY = {  # the image may be a user's own, and so may what it calls chown
    "network_mode": "none",
    "read_only": True,
    "cap_drop": ["ALL"],
    "cap_add": ["CHOWN"],
    "security_opt": ["no-new-privileges"],
    "pids_limit": 16,
    "mem_limit": 64 << 20,
}


def make(api: Any, name: str, labels: dict[str, str]) -> list[str]:
    """One for each folder; returns the binds."""
    for folder in FOLDERS:
        api.create_volume(f"{name}.{folder}", labels=labels)
    return [f"{name}.{folder}:{place}:rw,nocopy" for folder, place in FOLDERS.items()]


def fill(api: Any, task: Task, container: str, binds: list[str], labels: dict[str, str]) -> None:
    """Unpack the tree. Volumes are born as root's, with each container that is created with them: they are
    given away."""
    with task.tree.open("rb") as tree:
        api.put_archive(container, FOLDERS["app"], tree)
    giver = api.create_container(
        task.image,
        ["chown", USER, *FOLDERS.values()],
        user="0:0",
        entrypoint=[],
        labels=labels,
        host_config=api.create_host_config(binds=binds, **_CHOWN_ONLY),
    )["Id"]
    try:
        api.start(giver)
        api.wait(giver, timeout=_WAIT_S)
    finally:
        api.remove_container(giver, force=True)


def remove(api: Any, name: str) -> None:
    """Also what is not there any more."""
    for folder in FOLDERS:
        with suppress(NotFound):
            api.remove_volume(f"{name}.{folder}", force=True)
