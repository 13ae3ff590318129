"""The programs that these tests push: small repositories in `programs/`, and what is read from their runs."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.service import Pushed, Service, wait_for

FOLDER = Path(__file__).parent / "programs"
_SHARED = "check.cuh"
_DEVICE = re.compile(r"^visible: ([0-9a-f-]{36}) (\d+) MiB ", re.MULTILINE)


def program_names() -> list[str]:
    """All of them."""
    return sorted(path.parent.name for path in FOLDER.glob("*/hermes.toml"))


def files(name: str) -> dict[str, str | bytes]:
    """The repository."""
    paths = (FOLDER / _SHARED, *(FOLDER / name).iterdir())
    return {path.name: path.read_bytes() for path in paths}


def ran(service: Service, name: str, *options: str) -> tuple[Pushed, dict[str, Any]]:
    """Push a program, to the end of its run."""
    pushed = service.push(files(name), *options)
    assert "remote rejected" not in pushed.output, pushed.output
    return pushed, service.run_of(pushed)


def again(service: Service, run_id: int) -> int:
    """The same build once more; the number of the new run."""
    with service.client() as client:
        answer = client.post(f"/api/v1/runs/{run_id}/again")
    assert answer.is_success, answer.text
    return int(answer.json()["id"])


def ended(service: Service, run_id: int, timeout_s: float = 60.0) -> dict[str, Any]:
    """A run, when it has ended."""

    def ask() -> dict[str, Any] | None:
        run = service.api(f"/runs/{run_id}")
        return run if run["ended_at"] else None

    return wait_for(ask, timeout_s)


def quarantine(service: Service) -> dict[str, str]:
    """{UUID: reason} of the GPUs that are given to nobody."""
    gpus = [gpu for runner in service.api("/gpus")["runners"] for gpu in runner["gpus"]]
    return {gpu["uuid"]: gpu["quarantine"]["reason"] for gpu in gpus if gpu["quarantine"]}


def rank_log(service: Service, run: dict[str, Any], rank: dict[str, Any]) -> str:
    """What one rank printed."""
    with service.client() as client:
        answer = client.get(f"/runs/{run['id']}/log", params={"rank": rank["number"]})
    assert answer.status_code == 200, answer.text
    return answer.text


def gpu_of(run: dict[str, Any]) -> str:
    """The UUID of the only GPU of the only rank."""
    (rank,) = run["ranks"]
    (uuid,) = rank["slot"]["gpus"]
    return str(uuid)


def devices(text: str) -> dict[str, int]:
    """What `visible` saw: {UUID without its prefix: MiB}."""
    return {uuid: int(mib) for uuid, mib in _DEVICE.findall(text)}


def bare(uuid: str) -> str:
    """As the CUDA runtime tells a UUID."""
    return uuid.removeprefix("GPU-").removeprefix("MIG-")


def most_at_once(spans: Iterable[tuple[float, float, int]]) -> int:
    """The largest sum at any moment of what is held (third) from one time (first) to another (second)."""
    changes = [each for start, end, size in spans for each in ((start, size), (end, -size))]
    held = most = 0
    for _, change in sorted(changes):  # at the same moment what ends comes first: its change is below 0
        held += change
        most = max(most, held)
    return most
