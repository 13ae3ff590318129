"""The clock is set forward and back by an hour while programs run and others wait: nobody notices."""

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.programs import arrivals, begin_push, go_on, shell, told
from tests.promises import Told, all_is_kept
from tests.service import PATIENCE_S, Pushed, Service, living, wait_for

SOURCE = Path(__file__).parent / "fake_clock" / "clock.c"
HELLO = shell("echo hello")
HOUR_S = 3600
LEASE_S = 12


@dataclass
class Clock:
    """The wall clock of whoever has `env`."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """For a process and its children."""
        return {"LD_PRELOAD": str(self.folder / "clock.so"), "FAKE_CLOCK": str(self.folder / "offset")}

    def build(self) -> "Clock":
        """Compile the library."""
        command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(self.folder / "clock.so"), str(SOURCE)]
        subprocess.run(command, check=True)
        return self

    def set(self, offset_s: int) -> None:
        """So far from the true time, from now on."""
        fresh = self.folder / "offset.new"
        fresh.write_text(str(offset_s))
        fresh.replace(self.folder / "offset")


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock")).build()


@pytest.fixture(scope="module")
def service(clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One program at a time."""
    env = {
        "HERMES_EXECUTOR": "local",
        "HERMES_TRUST": "all",
        "HERMES_CPUS": "1",
        "HERMES_POLL": "1s",
        "HERMES_LEASE": f"{LEASE_S}s",
    }
    with living(Service(tmp_path_factory.mktemp("jumps"), env | clock.env)) as one:
        yield one


def starts(service: Service) -> list[int]:
    """The ranks in the order in which they began."""
    with closing(sqlite3.connect(service.data / "hermes.db")) as rows:
        query = "SELECT subject_id FROM event WHERE kind = 'rank' AND to_state = 'running' ORDER BY id"
        return [row[0] for row in rows.execute(query)]


def leave_as_a_fault_does(service: Service, pushed: Pushed) -> None:
    """It is to be tried again in some seconds."""
    with closing(sqlite3.connect(service.data / "hermes.db", timeout=PATIENCE_S)) as rows, rows:
        query = "UPDATE rank SET not_before = ? WHERE run_id = ? AND state = 'queued'"
        run = service.commit_page(pushed)["runs"][0]["id"]
        assert rows.execute(query, (time.time() + 3, run)).rowcount == 1


@pytest.mark.fault(38)
@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
def test_clock_that_is_set_by_an_hour_ends_no_lease_and_keeps_nobody_waiting(
    service: Service, clock: Clock, jump_s: int
) -> None:
    clock.set(0)
    before = len(starts(service))
    script, files = told("echo begun", f"sleep {LEASE_S / 2}; echo finished")
    tree = service.worktree(files, "runs")
    with begin_push(service, tree, f"runs{jump_s}") as follower:
        for _, line in arrivals(follower):
            if line == "begun":
                break
        waiting = [service.push(HELLO, "detach", repo=f"waits-{number}{jump_s}") for number in range(2)]
        for each in waiting:
            wait_for(lambda: service.commit_page(each)["builds"][0]["state"] == "built")  # noqa: B023
        leave_as_a_fault_does(service, waiting[1])
        clock.set(jump_s)
        go_on(script)
        follower.communicate(timeout=PATIENCE_S)
    assert follower.returncode == 0
    runs = Pushed(0, "", tree.git("rev-parse", "HEAD"), service.user, f"runs{jump_s}", tree)
    later = service.push(HELLO, repo=f"after{jump_s}")
    words = [Told(runs, b"begun\nfinished\n"), *(Told(each, b"hello\n") for each in [*waiting, later])]
    for one in words:
        run = service.run_of(one.pushed)
        assert (run["state"], run["ranks"][0]["attempt"]) == ("succeeded", 1)
    assert "fell silent" not in service.log
    assert starts(service)[before:] == sorted(starts(service)[before:])
    all_is_kept(service, words)
