"""The disk of the data directory fills up, or cannot be written: reads go on, work waits, nothing is lost.

A real service whose data lie on a small disk of their own; its own words and users' clones lie elsewhere."""

import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.leftovers import processes
from tests.programs import command_lines, go_on, told
from tests.service import Pushed, Service, WorkTree, wait_for
from tests.small_disk import SmallDisk

LINE = 8192
LEASE_S = 8
PRINTS = f"""
line=$(head -c {LINE - 1} /dev/zero | tr '\\0' x)
print() {{ i=0; while [ $i -lt $1 ]; do i=$((i + 1)); echo "$line"; done; }}
printf 'begin\\n'
"""


def program(script: str, more: str = "") -> dict[str, str | bytes]:
    return {
        "Makefile": "all:\n\t@true\n",
        "main.sh": script,
        "hermes.toml": f'handler = "sh main.sh"\n[run]\ncpus = 1\nmemory = "64M"\n{more}',
    }


class House(Service):
    """A service whose data are on a small disk."""

    disk: SmallDisk

    @property
    def root(self) -> Path:
        return self.disk.point / "var"

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(f"file:{self.root}/hermes.db?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def check(self) -> None:
        """Neither the database nor any repository is destroyed."""
        assert self.rows("PRAGMA integrity_check") == [("ok",)]
        for repo in (self.root / "repos").glob("*.git"):
            done = subprocess.run(
                ["git", "-C", str(repo), "fsck", "--full"], capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stdout) == (0, ""), done.stderr

    def health(self) -> tuple[int, str]:
        with self.client("") as client:
            answer = client.get("/healthz")
        return answer.status_code, answer.json().get("reason", "")

    def is_well(self) -> bool:
        return self.health()[0] == 200

    def processes(self) -> list[int]:
        """Those that `hermes up` keeps alive."""
        names = ("redis-server", "hermes web", "hermes builder", "hermes runner")
        return [pid for name in names for pid in processes(self, name)]

    def page(self, path: str) -> str:
        """As it is shown to its user."""
        with self.client() as client:
            answer = client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path_factory.mktemp("small")) as one:
        yield one


@pytest.fixture(scope="module")
def house(disk: SmallDisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    env = {
        "HERMES_DATA": str(disk.point / "var"),
        "HERMES_EXECUTOR": "local",
        "HERMES_TRUST": "all",
        "HERMES_DISK": "100M",
        "HERMES_POLL": "1",
        "HERMES_LEASE": str(LEASE_S),
    }
    one = House(tmp_path_factory.mktemp("words"), env)
    one.disk = disk
    one.token = one.add_user(one.user)
    one.start()
    yield one
    disk.empty()
    assert one.stop() == 0, one.log[-3000:]
    assert "Traceback" not in one.log, one.log[one.log.index("Traceback") - 500 :][:4000]


@pytest.fixture
def room(house: House) -> Iterator[None]:
    """There is room before and after."""
    yield
    house.disk.empty()
    wait_for(house.is_well)


@pytest.fixture(scope="module")
def earlier(house: House) -> Pushed:
    """What was there before."""
    pushed = house.push(program("echo hello > $HERMES_OUTPUT_DIR/a.txt; echo here"), repo="earlier")
    assert house.run_of(pushed)["state"] == "succeeded", pushed.output
    return pushed


def can_be_read(house: House, earlier: Pushed) -> None:
    run = house.run_of(earlier)
    assert house.read_log("runs", run["id"]) == b"here\n"
    with house.client() as client:
        assert client.get(run["artifacts"][0]["url"].removeprefix(house.url)).content == b"hello\n"
    command, env = house.push_command(earlier.repo)
    clone = ["git", "clone", "-q", command[2], str(house.data / f"clone-{time.time_ns()}")]
    assert subprocess.run(clone, env=env, check=False).returncode == 0


@pytest.mark.fault(21)
def test_full_disk_takes_no_work_says_so_and_ends_by_itself(
    house: House, earlier: Pushed, room: None
) -> None:
    house.disk.fill(20 << 20)
    why = "the disk of this service is full"
    wait_for(lambda: why in house.health()[1])
    pushed = house.push(earlier.tree, repo=earlier.repo, refs=("HEAD:refs/heads/other",))
    assert pushed.code == 1
    assert "[remote rejected]" in pushed.output and why in pushed.output
    fresh = house.push(program("echo new"), repo="fresh")
    assert fresh.code != 0 and why in fresh.output
    with house.client() as client:
        answer = client.post(f"/api/v1/functions/alice/{earlier.repo}/runs", content=b"x")
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "disk_full")
        assert int(answer.headers["Retry-After"]) > 0
        run = house.run_of(earlier)["id"]
        again = client.post(f"/api/v1/runs/{run}/again", json={})
        assert (again.status_code, again.json()["error"]["code"]) == (507, "disk_full")
    for path in ("/", f"/alice/{earlier.repo}", f"/runs/{run}"):
        assert "No work is taken now" in house.page(path)
    can_be_read(house, earlier)
    house.disk.empty()
    wait_for(house.is_well)
    assert "No work is taken now" not in house.page("/")
    assert house.run_of(house.push(program("echo new"), repo="fresh"))["state"] == "succeeded"
    house.check()


def test_what_waits_begins_when_there_is_room(house: House, room: None) -> None:
    """Queued while the disk fills up; nothing of it is tried, and no attempt used up."""
    slow = house.push(program("sleep 3", 'timeout = "1m"\n'), "detach", repo="slow")
    house.disk.fill(20 << 20)
    wait_for(lambda: not house.is_well())
    house.disk.empty()
    run = house.run_of(slow)
    assert (run["state"], run["ranks"][0]["attempt"]) == ("succeeded", 1)


@pytest.mark.fault(21)
def test_push_that_does_not_fit_leaves_the_repository_as_it_was(
    house: House, earlier: Pushed, room: None
) -> None:
    house.disk.fill(80 << 20)
    tree = WorkTree(earlier.tree.folder)
    tree.write({"large": os.urandom(120 << 20)}).commit("large")
    pushed = house.push(tree, repo=earlier.repo)
    tree.git("reset", "-q", "--hard", "HEAD~1")
    assert pushed.code == 1
    assert "the disk of this service has no room for this push" in pushed.output
    assert house.disk.free_bytes > 75 << 20
    can_be_read(house, earlier)
    house.check()


@pytest.mark.fault(22)
def test_a_full_disk_does_not_end_a_program_and_its_log_says_what_is_lost(house: House, room: None) -> None:
    """For longer than its lease, and for more output than is held."""
    pause = f"sleep {LEASE_S + 4}.{os.getpid()}"
    script, files = told(f"{PRINTS}print 100", f"print 400; {pause}; print 100")
    pushed = house.push(files, "detach", repo="printer")
    run = wait_for(lambda: house.commit_page(pushed)["runs"])[0]["id"]
    wait_for(lambda: house.read_log("runs", run))
    house.disk.fill()
    go_on(script)
    wait_for(lambda: any(line.startswith(pause) for line in command_lines().values()))  # all was taken
    time.sleep(LEASE_S + 1)
    house.disk.empty()
    found = house.run_of(pushed)
    assert (found["state"], found["ranks"][0]["attempt"]) == ("succeeded", 1)
    log = house.read_log("runs", run)
    marks = re.findall(rb"\n\[hermes: the disk was full: (\d+) bytes are lost here\]\n", log)
    assert marks
    text = re.sub(rb"\n\[hermes: the disk was full: \d+ bytes are lost here\]\n", b"", log)
    assert len(text) + sum(map(int, marks)) == len("begin\n") + 600 * LINE
    house.check()


@pytest.mark.fault(23)
def test_artifacts_that_find_no_room_mark_the_run_and_give_the_room_back(house: House, room: None) -> None:
    large = program("head -c 60M /dev/urandom > $HERMES_OUTPUT_DIR/large; echo done")
    pushed = house.push(large, "build-only", repo="large")
    house.settled(pushed)
    house.disk.fill(150 << 20)
    with house.client() as client:
        assert client.post("/api/v1/functions/alice/large/runs").status_code == 202
    run = house.run_of(pushed)
    assert (run["state"], run["exit_code"], run["artifacts"]) == ("succeeded", 0, [])
    words = "the disk of this service was full: none of its artifacts are kept"
    assert run["reason"] == words and words in run["words"]
    assert words.encode() in house.read_log("runs", run["id"])
    assert words in house.page(f"/runs/{run['id']}")
    wait_for(lambda: house.disk.free_bytes > 140 << 20)
    house.check()


@pytest.mark.fault(24)
def test_disk_that_cannot_be_written_ends_no_process(house: House, earlier: Pushed) -> None:
    """And when it is mended and the service started again, all is there. The last test: it breaks it."""
    before = house.processes()
    assert len(before) == 4
    house.disk.break_writing()
    wait_for(lambda: "cannot be written" in house.health()[1])
    pushed = house.push(earlier.tree, repo=earlier.repo, refs=("HEAD:refs/heads/another",))
    assert pushed.code == 1 and "cannot be written" in pushed.output
    assert "No work is taken now" in house.page("/")
    can_be_read(house, earlier)
    time.sleep(6)  # every loop of every process has met it
    assert house.processes() == before
    house.stop()
    house.disk.mend()
    house.start()
    house.check()
    can_be_read(house, earlier)
    assert house.run_of(house.push(program("echo new"), repo="mended"))["state"] == "succeeded"
