"""A program that nobody can kill: its run ends, its GPU is given to nobody, and all else goes on."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.gpus import FakeDriver, gpu
from tests.programs import command_lines, without_bubblewrap
from tests.promises import Told, all_is_kept
from tests.service import Service, living, wait_for

FREEZER = Path("/sys/fs/cgroup/freezer")
STUCK = {
    "Makefile": "prog:\n\tcp prog.sh prog && chmod +x prog\n",
    "prog.sh": "#!/bin/sh\necho begun\nsleep 4242\n",
    "hermes.toml": 'handler = "./prog"\n[run]\ncpus = 1\ntimeout = "15s"\n[gpu]\ncount = 1\n',
}
NEXT = STUCK | {"prog.sh": "#!/bin/sh\necho sees $CUDA_VISIBLE_DEVICES\n"}


@pytest.fixture
def driver(tmp_path: Path) -> FakeDriver:
    (tmp_path / "nvml").mkdir()
    return FakeDriver(tmp_path / "nvml").build().world(gpu(0), gpu(1))


@pytest.fixture
def house(engine: None, driver: FakeDriver, tmp_path: Path) -> Iterator[Service]:
    env = {"HERMES_EXECUTOR": "local", "HERMES_CPUS": "8", "HERMES_POLL": "1", "HERMES_GPU_SETTLE": "1s"}
    env |= driver.env | without_bubblewrap(tmp_path / "path" / "bin")
    with living(Service(tmp_path / "house", env)) as one:
        yield one


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    """Version 1 of control groups delivers no SIGKILL to who is frozen: as to who waits for a driver."""
    group = FREEZER / f"hermes-test-{os.getpid()}"
    group.mkdir()
    try:
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")
        wait_for(lambda: (group / "freezer.state").read_text() == "FROZEN\n")
        yield
    finally:
        (group / "freezer.state").write_text("THAWED")
        wait_for(_gone(group))


def _gone(group: Path) -> Callable[[], bool]:
    def gone() -> bool:
        try:
            group.rmdir()
        except OSError:
            return False
        return True

    return gone


def sleepers() -> list[int]:
    return [pid for pid, line in command_lines().items() if line.startswith("sleep 4242")]


@pytest.mark.fault(31)
@pytest.mark.skipif(
    not (FREEZER / "cgroup.procs").exists() or os.getuid() != 0, reason="no freezer (cgroup v1)"
)
def test_a_program_that_cannot_be_killed_ends_its_run_and_keeps_nobody_waiting(
    house: Service, driver: FakeDriver
) -> None:
    stuck = house.push(dict(STUCK), "detach", repo="stuck")
    pid = wait_for(sleepers)[0]
    shell = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    driver.world(gpu(0, used_mib=900, pids=str(pid)), gpu(1))
    with frozen([shell, pid]):
        run = house.run_of(stuck)
        assert run["state"] == "timed_out" and run["ranks"][0]["attempt"] == 1
        assert Path(f"/proc/{pid}").exists()
        beside = [house.push(dict(NEXT), repo=f"beside-{number}") for number in range(2)]
        for each in beside:
            assert each.code == 0 and "sees GPU-fake-1" in each.lines, each.output
        wait_for(lambda: "a program cannot be killed" in house.log)
    driver.world(gpu(0), gpu(1))
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    said = b"sees GPU-fake-1\n"
    all_is_kept(house, [Told(stuck, b"begun\n"), *(Told(each, said) for each in beside)])
