"""The Docker engine restarts, and loses its power, while programs run: an engine of the tests' own."""

import os
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.leftovers import processes
from tests.own_engine import Engine, own_engine, programs
from tests.programs import shell
from tests.promises import Told, all_is_kept
from tests.service import PATIENCE_S, Pushed, Service, living, wait_for

LINES = 60
#: Its first attempt has no end; which it is, it has noted before it prints.
COUNTS = shell(
    "[ -e $HERMES_CHECKPOINT_DIR/x ] && last=9999; touch $HERMES_CHECKPOINT_DIR/x; i=0\n"
    f"while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); [ $i -lt ${{last-20}} ] || sleep 600; done\n"
)
PRINTED = b"".join(b"line %d\n" % number for number in range(LINES))


@pytest.fixture(scope="module")
def own(engine: None) -> Iterator[Engine]:
    with own_engine(Path(tempfile.mkdtemp(prefix="hermes-engine-", dir="/tmp"))) as one:
        one.bring("hermes/cpp:2")
        yield one


@pytest.fixture(scope="module")
def house(own: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {"HERMES_EXECUTOR": "docker", "HERMES_CPUS": "8", "HERMES_POLL": "1s", "HERMES_LEASE": "8s"}
    with living(Service(tmp_path_factory.mktemp("house"), env | {"DOCKER_HOST": own.host})) as one:
        yield one


@pytest.fixture(autouse=True)
def looked_at(own: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle asks that engine, too."""
    monkeypatch.setenv("DOCKER_HOST", own.host)


def begun(house: Service, repo: str) -> tuple[Pushed, int]:
    """A push whose program prints; and its run."""
    pushed = house.push(COUNTS, "detach", repo=repo)
    run = wait_for(lambda: [r for r in house.commit_page(pushed)["runs"] if r["state"] == "running"])[0]
    wait_for(lambda: b"line 10\n" in house.read_log("runs", run["id"]))
    return pushed, run["id"]


def reasons(house: Service, rank_id: int) -> list[str]:
    """Why a rank went from state to state. Every run here has one, so that their numbers are the same."""
    with closing(sqlite3.connect(house.data / "hermes.db")) as rows:
        query = "SELECT reason FROM event WHERE kind = 'rank' AND subject_id = ? ORDER BY id"
        return [str(row[0]) for row in rows.execute(query, (rank_id,))]


@pytest.mark.fault(28)
def test_engine_that_ends_its_containers_is_no_fault_of_theirs(house: Service, own: Engine) -> None:
    pushed, run_id = begun(house, "ended-with-it")
    own.stop()
    own.start()
    run = house.run_of(pushed)
    assert (run["state"], run["ranks"][0]["attempt"]) == ("succeeded", 2)
    assert any("engine" in reason for reason in reasons(house, run_id)), reasons(house, run_id)
    all_is_kept(house, [Told(pushed, PRINTED)])


@pytest.mark.fault(27)
def test_engine_that_restarts_beside_its_containers_has_them_begin_anew(house: Service, own: Engine) -> None:
    """It keeps no output (that would cost each program's speed), so what it drops meanwhile is lost."""
    own.stop()
    own.start("--live-restore")
    pushed, run_id = begun(house, "beside-it")
    before, there = len(house.log), own.containers()
    own.stop()
    assert programs(there), "they go on without it"
    own.start("--live-restore")
    run = house.run_of(pushed)
    assert (run["state"], run["ranks"][0]["attempt"]) == ("succeeded", 2)
    assert any("engine" in reason for reason in reasons(house, run_id)), reasons(house, run_id)
    assert_swept_first(house.log[before:])
    all_is_kept(house, [Told(pushed, PRINTED)])


def assert_swept_first(words: str) -> None:
    """Never two programs of one rank at a time."""
    assert 0 < words.index("box swept") < words.index("rank starting"), words


@pytest.mark.fault(26)
def test_power_cut_of_all_of_it_leaves_nothing_and_the_next_attempt_succeeds(
    house: Service, own: Engine
) -> None:
    pushed, _ = begun(house, "cut-off")
    assert house.process is not None
    own.cut()
    house.process.kill()
    for pid in processes(house):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    house.process.wait(PATIENCE_S)
    wait_for(lambda: not processes(house))  # the next ones want their port
    before = len(house.log)
    own.start()
    assert own.containers() != []
    house.start()
    run = house.run_of(pushed)
    assert (run["state"], run["ranks"][0]["attempt"]) == ("succeeded", 2)
    assert_swept_first(house.log[before:])
    all_is_kept(house, [Told(pushed, PRINTED)])
