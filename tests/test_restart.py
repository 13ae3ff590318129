"""The service ends and starts again while programs run (HERMES_STOP=leave): they go on, no byte is lost."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.leftovers import containers, mounts
from tests.programs import go_on, told
from tests.service import Service, wait_for
from tests.test_adoption import COUNTER, begin, check_whole, rank_of, wait_until_printed

ENV = {"HERMES_STOP": "leave", "HERMES_CPUS": "8", "HERMES_POLL": "1s", "HERMES_LEASE": "30s"}
#: Without an end in its first attempt only, which it has noted when it says so.
ONCE = "[ -e $HERMES_CHECKPOINT_DIR/x ] || { touch $HERMES_CHECKPOINT_DIR/x; echo begun; sleep 600; }"


def started(folder: Path, executor: str) -> Service:
    one = Service(folder, ENV | {"HERMES_EXECUTOR": executor})
    one.token = one.add_user(one.user)
    return one.start()


@pytest.fixture(scope="module")
def house(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    one = started(tmp_path_factory.mktemp("restart"), "docker")
    yield one
    assert one.stop() == 0
    one.hermes("admin", "end")
    assert not containers(one) and not mounts(one)
    assert "Traceback" not in one.log, one.log[one.log.index("Traceback") - 500 :][:4000]


def row_of(house: Service, rank_id: int) -> dict[str, Any]:
    """While the service is away, too."""
    with closing(sqlite3.connect(house.data / "hermes.db")) as database:
        database.row_factory = sqlite3.Row
        return dict(database.execute("SELECT * FROM rank WHERE id = ?", (rank_id,)).fetchone())


@pytest.mark.fault(40)
def test_a_program_goes_on_across_a_restart_and_its_log_is_whole(house: Service) -> None:
    loop, _, end = COUNTER.format(count=12_000, code=3).partition("echo kept")
    script, files = told(loop.replace("12000", "11000"), loop.replace("i=0", "") + "echo kept" + end)
    files["hermes.toml"] = f'handler = "sh {script}"\n[run]\ntimeout = "10m"\n'
    pushed = house.push(files, "detach")
    rank_id = wait_for(lambda: house.commit_page(pushed)["runs"])[0]["id"]
    wait_until_printed(house, rank_id, 20_000)
    assert house.stop() == 0  # while it prints
    assert len(containers(house)) == 1
    row = row_of(house, rank_id)
    assert row["state"] == "running" and row["lease_until"] - row["started_at"] > 600
    go_on(script)
    house.start()
    check_whole(house, pushed, rank_id)


def test_an_operator_ends_what_was_left_and_it_starts_anew(house: Service) -> None:
    pushed, rank_id = begin(house, ONCE)
    wait_until_printed(house, rank_id, 5)
    assert house.hermes("admin", "end").stderr.startswith("0 programs ended")  # it has its runner
    assert house.stop() == 0
    assert len(containers(house)) == 1
    assert house.hermes("admin", "end").stderr == "1 program ended; queued again for the next start\n"
    assert not containers(house) and not mounts(house)
    house.start()
    rank = rank_of(house, pushed)
    assert (rank["state"], rank["attempt"]) == ("succeeded", 2)


def test_the_local_executor_says_that_it_cannot_leave_programs(tmp_path: Path) -> None:
    one = started(tmp_path / "local", "local")
    try:
        pushed, rank_id = begin(one, ONCE)
        wait_until_printed(one, rank_id, 5)
        assert one.stop() == 0
        assert "the local executor cannot leave them" in one.log
        one.start()
        rank = rank_of(one, pushed)
        assert (rank["state"], rank["attempt"]) == ("succeeded", 2)
    finally:
        assert one.stop() == 0
