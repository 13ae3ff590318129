"""What the kernel says of a control group is heard, also when it is asked for after the group is gone."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes.executors.base import Limits
from hermes.executors.groups import Group, find_parents, group_of
from hermes.executors.witness import Watching, witness_of
from tests.service import wait_for

_MOUNTED = Path("/sys/fs/cgroup")
_UNIFIED = _MOUNTED / "unified" if (_MOUNTED / "unified").exists() else _MOUNTED
GREEDY, KILLED, QUIET = "x=$(head -c 300000000 /dev/zero | tr '\\0' x)", "kill -KILL $$", "exit 3"


@pytest.fixture
def group() -> Iterator[Group]:
    one = group_of(find_parents(), f"hermes-witness-{os.getpid()}")
    assert one.folders, "as root, control groups can be made"
    one.bound(Limits(cpus=1, memory_bytes=48 << 20, disk_bytes=0))
    yield one
    one.remove()


@pytest.fixture
def unified() -> Iterator[Path]:
    folder = _UNIFIED / f"hermes-unified-{os.getpid()}"
    folder.mkdir()
    yield folder
    if folder.exists():
        folder.rmdir()


def run_in(folders: list[Path], program: str) -> None:
    enter = "".join(f"echo $$ >{folder}/cgroup.procs; " for folder in folders)
    subprocess.run(["bash", "-c", enter + 'exec bash -c "$1"', "run", program], check=False)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("program", [GREEDY, KILLED, QUIET])
def test_a_kill_for_memory_is_heard_when_its_group_is_gone(group: Group, program: str) -> None:
    before, witness = open_files(), witness_of(group.folders)
    assert witness is not None
    run_in(list(group.folders.values()), program)
    group.remove()
    assert witness.is_killed_for_memory() == (program == GREEDY)
    witness.close()
    assert witness.is_killed_for_memory() == (program == GREEDY)  # of what it had heard
    assert open_files() == before


def test_a_kill_from_before_it_listened_is_known(group: Group) -> None:
    run_in(list(group.folders.values()), GREEDY)
    witness = witness_of(group.folders)
    assert witness is not None
    group.remove()
    assert witness.is_killed_for_memory()
    witness.close()


@pytest.mark.parametrize("is_used", [True, False])
def test_a_number_is_read_while_its_group_is_there(unified: Path, is_used: bool) -> None:
    """Version 2 tells everything in files of one form; not every machine's has memory to tell of."""
    before, witness = open_files(), Watching(unified / "cgroup.events", "populated")
    if is_used:
        with subprocess.Popen(["sleep", "60"]) as sleeper:
            (unified / "cgroup.procs").write_text(str(sleeper.pid))
            wait_for(lambda: witness.has_seen)
            sleeper.kill()
    wait_for(lambda: "populated 0" in (unified / "cgroup.events").read_text())
    unified.rmdir()
    assert witness.is_killed_for_memory() == is_used
    witness.close()
    assert open_files() == before


def test_a_group_that_is_gone_has_no_witness(tmp_path: Path) -> None:
    before = open_files()
    assert witness_of({"memory": tmp_path / "gone"}) is None
    assert witness_of({"unified": tmp_path / "gone"}) is None
    assert witness_of({}) is None
    assert open_files() == before
