"""What lies about after a service has done its work: of the machine, not of Hermes, asked."""

from contextlib import suppress
from pathlib import Path

from hermes.executors import instance_label
from hermes.executors.engine import connect
from hermes.executors.warm import WARM
from hermes.settings import Settings
from tests.programs import command_lines
from tests.service import Service

_MOST_WARM = Settings().warm


def leftovers(service: Service) -> dict[str, list[str]]:
    """What lies about, by kind; all of it empty where nothing runs and a sweep went by."""
    data = service.data
    spool = [path.name for path in (data / "spool").glob("hermes-*")]
    folders = [path.name for path in (data / "spool" / "boxes").glob("*")]
    quarantines = [str(path) for path in (data / "repos").glob("*.git/objects/*incoming*")]
    checkpoints = [str(path) for path in (data / "checkpoints").glob("*")]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(data) in line]
    containers = _containers(data)
    waiting = [name for name, state in containers.items() if f"-{WARM}-" in name and state == "created"]
    mine = waiting[:_MOST_WARM]  # they are meant to be there, and nothing has run in them
    found = {"spool": spool, "boxes": folders, "mounts": mounts, "containers": list(containers)}
    found = {
        what: [each for each in some if not any(name in each for name in mine)]
        for what, some in found.items()
    }
    return found | {"git": quarantines, "checkpoints": checkpoints, "programs": _programs(service)}


def _containers(data: Path) -> dict[str, str]:
    """{name: state}"""
    label = f"hermes.instance={instance_label(Settings(data=data))}"
    api = connect(10)
    try:
        found = api.containers(all=True, filters={"label": label})
        return {str(each["Names"][0]).lstrip("/"): str(each["State"]) for each in found}
    finally:
        api.close()


def of_instance(data: Path) -> list[int]:
    """The processes of this instance, by what they have in their environment."""
    mark = f"HERMES_DATA={data}\0".encode()
    found = []
    for pid in command_lines():
        with suppress(OSError):
            found += [pid] if mark in Path(f"/proc/{pid}/environ").read_bytes() + b"\0" else []
    return found


def _programs(service: Service) -> list[str]:
    """Git children whose server is gone."""
    lines = command_lines()
    repos = f"{service.data}/repos/"
    return [
        line for line in lines.values() if repos in line and ("receive-pack" in line or "index-pack" in line)
    ]
