"""Programs outlive their runner: it is killed, started again, and goes on, and no byte of a log is lost."""

import os
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes.executors.base import Limits, Seen, Task
from hermes.executors.docker import DockerExecutor
from hermes.leases import is_alive
from hermes.logs import STDERR, STDOUT
from tests.leftovers import containers, the_process
from tests.programs import begin_push, end_of, go_on, shell, told
from tests.service import Pushed, Service, living, wait_for
from tests.test_faults import has

COUNTER = """
i=0
while [ $i -lt {count} ]; do
  echo "out $i"; echo "err $i" >&2; i=$((i+1))
  [ $((i % 200)) = 0 ] && sleep 0.1
done
echo kept >$HERMES_OUTPUT_DIR/file
exit {code}
"""


@pytest.fixture(scope="module")
def house(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {"HERMES_EXECUTOR": "docker", "HERMES_CPUS": "8", "HERMES_POLL": "1s"}
    with living(Service(tmp_path_factory.mktemp("adopt"), env)) as one:
        yield one


def begin(house: Service, program: str, manifest: str = "") -> tuple[Pushed, int]:
    """A push whose program runs; and its rank: every run here has one, so that their numbers are the same."""
    return begin_files(house, shell(program, manifest))


def begin_files(house: Service, files: dict[str, str | bytes]) -> tuple[Pushed, int]:
    """The same of a whole repository."""
    pushed = house.push(files, "detach")
    run = wait_for(lambda: [r for r in house.commit_page(pushed)["runs"] if r["state"] == "running"])[0]
    return pushed, run["id"]


def kill_runner(house: Service) -> int:
    """Returns the pid that it had."""
    pid = the_process(house, "hermes runner")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not _is_there(pid))
    return pid


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _is_dead(pid: int) -> bool:
    """Whose parent stands still is not waited for."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def wait_until_printed(house: Service, rank_id: int, size_bytes: int) -> None:
    wait_for(lambda: len(house.read_log("runs", rank_id)) > size_bytes)


def rank_of(house: Service, pushed: Pushed) -> dict[str, Any]:
    run = house.run_of(pushed)
    rank: dict[str, Any] = house.api(f"/runs/{run['id']}")["ranks"][0]
    return rank


def check_whole(house: Service, pushed: Pushed, rank_id: int) -> None:
    """COUNTER to 12,000 with exit code 3: one attempt, each line once and in order, its file, no box left."""
    rank = rank_of(house, pushed)
    assert (rank["state"], rank["attempt"], rank["exit_code"]) == ("failed", 1, 3)
    lines = house.read_log("runs", rank_id).decode().splitlines()
    for stream in ("out", "err"):
        assert [line for line in lines if line.startswith(stream)] == [f"{stream} {n}" for n in range(12_000)]
    assert len(lines) == 24_000
    run = house.commit_page(pushed)["runs"][0]
    assert [each["path"] for each in house.api(f"/runs/{run['id']}")["artifacts"]] == ["file"]
    wait_for(lambda: not containers(house))


@pytest.mark.fault(7)
def test_a_program_goes_on_while_its_runner_is_killed_twice_and_its_log_is_whole(house: Service) -> None:
    pushed, rank_id = begin(house, COUNTER.format(count=12_000, code=3))
    for size_bytes in (20_000, 70_000):
        wait_until_printed(house, rank_id, size_bytes)
        kill_runner(house)
    check_whole(house, pushed, rank_id)


@pytest.mark.fault(7)
def test_a_program_that_ends_while_no_runner_is_there_gets_its_verdict(house: Service) -> None:
    script, files = told("echo begun", "echo finished; exit 7")
    pushed, rank_id = begin_files(house, files)
    wait_for(lambda: b"begun" in house.read_log("runs", rank_id))
    runner = the_process(house, "hermes runner")
    parent = int(Path(f"/proc/{runner}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGSTOP)  # it would start another one at once
    try:
        os.kill(runner, signal.SIGKILL)
        wait_for(lambda: not _is_there(runner) or _is_dead(runner))
        go_on(script)
        wait_for(lambda: not containers(house, all_of_them=False))
        time.sleep(2)
        back_at = time.time()
    finally:
        os.kill(parent, signal.SIGCONT)
    rank = rank_of(house, pushed)
    assert (rank["state"], rank["attempt"], rank["reason"]) == ("failed", 1, "exit code 7")
    assert house.read_log("runs", rank_id) == b"begun\nfinished\n"
    assert rank["started_at"] + rank["summary"]["wall_s"] < back_at, "the time of its program, not of ours"


def test_the_limit_of_time_holds_across_runners(house: Service) -> None:
    pushed, _ = begin(house, "sleep 6000", '[run]\ntimeout = "5s"')
    kill_runner(house)
    rank = rank_of(house, pushed)
    assert (rank["state"], rank["attempt"]) == ("timed_out", 1)
    wait_for(lambda: not containers(house))


def test_an_adopted_program_is_cancelled_like_any_other(house: Service) -> None:
    pushed, rank_id = begin(house, "sleep 6000")
    kill_runner(house)
    wait_for(lambda: re.search(rf"rank adopted .*\bid={rank_id}\b", house.log))
    with house.client() as client:
        client.post(f"/api/v1/runs/{house.commit_page(pushed)['runs'][0]['id']}/cancel")
    rank = rank_of(house, pushed)
    assert (rank["state"], rank["attempt"]) == ("cancelled", 1)


@pytest.mark.fault(7)
def test_a_follower_of_the_push_sees_every_line_once(house: Service) -> None:
    tree = house.worktree(shell("for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.5; done"))
    client = begin_push(house, tree, "followed")
    wait_for(lambda: b"line 2" in house_log(house))
    kill_runner(house)
    code, text = end_of(client)
    lines = [line for line in text.splitlines() if line.startswith("line ")]
    assert code == 0 and lines == [f"line {n}" for n in range(1, 9)]
    assert not has(text.splitlines(), "trying again")


def house_log(house: Service) -> bytes:
    newest = max(house.data.glob("logs/rank/*.log"), key=lambda path: path.stat().st_mtime)
    return newest.read_bytes()


def test_without_its_keeper_a_program_is_tried_again(house: Service) -> None:
    """What it printed meanwhile cannot be known."""
    script, files = told("echo begun", "echo finished")
    pushed, rank_id = begin_files(house, files)
    os.kill(the_process(house, "hermes.keeper"), signal.SIGKILL)
    second = house.data / "logs" / "rank" / f"{rank_id}.2.log"
    wait_for(lambda: second.exists() and b"begun" in second.read_bytes())
    go_on(script)
    rank = rank_of(house, pushed)
    assert (rank["state"], rank["attempt"]) == ("succeeded", 2)
    wait_for(lambda: "reason='the keeper of what it printed is gone'" in house.log)


# ---- the executor itself


class Killed(Exception):
    """Instead of a process: its log has what it has, and nothing more comes from it."""


@pytest.mark.parametrize("limit_bytes", [0, 70_000, 3_333_333, 9_000_000])
async def test_of_a_flood_every_byte_comes_through_and_in_order(
    engine: None, tmp_path: Path, limit_bytes: int
) -> None:
    """Two processes share it: one reads so much and is gone, the other goes on."""
    tree = tmp_path / "tree.tar"
    tarfile.open(tree, "w").close()
    script = "for i in 0 1 2 3 4 5 6 7; do head -c 1000000 /dev/zero | tr '\\0' $i; done; echo end >&2"
    limits = Limits(cpus=1, memory_bytes=256 << 20, disk_bytes=64 << 20)
    task = Task("hermes-test-rank-1.1", "hermes/cpp:2", ("sh", "-c", script), tree, limits)
    log: dict[int, bytearray] = {STDOUT: bytearray(), STDERR: bytearray()}

    def write(data: bytes, stream: int) -> None:
        if len(log[STDOUT]) + len(data) > limit_bytes:
            raise Killed
        log[stream] += data

    first, second = (
        DockerExecutor(tmp_path / "boxes", f"test-{tmp_path.name}", keeper=tmp_path / "k") for _ in range(2)
    )
    await first.check()
    try:
        box = await first.start(task)
        if limit_bytes < 8_000_000:
            with pytest.raises(Killed):
                await first.follow(box, write)
        limit_bytes = 10_000_000
        adopted = await second.adopt(task, Seen(len(log[STDOUT]), len(log[STDERR])))
        assert adopted is not None and adopted.unlogged_bytes == 0
        ended = await second.follow(adopted, write)
        assert ended.code == 0 and bytes(log[STDERR]) == b"end\n"
        assert bytes(log[STDOUT]) == b"".join(b"%d" % n * 1_000_000 for n in range(8))
    finally:
        await second.remove(task.name)
        await first.close()
        await second.close()


async def test_a_box_that_is_not_there_is_not_adopted(engine: None, tmp_path: Path) -> None:
    tree = tmp_path / "tree.tar"
    tarfile.open(tree, "w").close()
    task = Task("hermes-test-rank-2.1", "hermes/cpp:2", ("true",), tree, Limits(1, 64 << 20, 64 << 20))
    executor = DockerExecutor(tmp_path / "boxes", f"test-{tmp_path.name}", keeper=tmp_path / "k")
    assert await executor.adopt(task, Seen()) is None
    await executor.close()


def test_who_was_killed_and_not_waited_for_is_gone() -> None:
    """Whose parent died too is waited for by init, when that comes to it."""
    child = subprocess.Popen(["sleep", "600"])
    owner = f"here:{child.pid}:1a2b"
    assert is_alive(owner)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}").exists() and not is_alive(owner)
    child.wait()
    assert not is_alive(owner) and is_alive(None)
