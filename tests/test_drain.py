"""HERMES_STOP=drain: what is at work comes to its end with all its lines, and nothing new begins."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import arrivals, begin_push, go_on, shell, told
from tests.promises import Told, all_is_kept
from tests.service import PATIENCE_S, Service, wait_for
from tests.test_restart import ONCE

ENV = {
    "HERMES_STOP": "drain",
    "HERMES_EXECUTOR": "local",
    "HERMES_TRUST": "all",
    "HERMES_CPUS": "8",
    "HERMES_POLL": "1s",
    "HERMES_LEASE": "20s",  # nobody is to fall silent on a busy machine
}
LINES = 50
COUNTS = (f"while [ $i -lt {end} ]; do echo line $i; i=$((i+1)); sleep 0.1; done" for end in (5, LINES))
BEFORE, AFTER = COUNTS
PRINTED = "".join(f"line {number}\n" for number in range(LINES))


@pytest.fixture
def draining(tmp_path: Path) -> Iterator[Service]:
    one = Service(tmp_path / "drain", ENV)
    one.token = one.add_user(one.user)
    one.start()
    yield one
    if one.process is not None and one.process.poll() is None:
        assert one.stop() == 0
    assert "Traceback" not in one.log, one.log[one.log.index("Traceback") - 500 :][:4000]


def ask_to_end(service: Service) -> None:
    assert service.process is not None
    service.process.send_signal(signal.SIGTERM)


@pytest.mark.fault(39)
def test_what_runs_ends_with_all_its_lines_and_what_comes_waits_for_the_next_start(draining: Service) -> None:
    script, counts = told(f"i=0; {BEFORE}", AFTER)
    seen = []
    with begin_push(draining, draining.worktree(counts, "long"), "long") as client:
        for _, line in arrivals(client):
            seen.append(line)
            if line == "line 4":  # the program waits
                ask_to_end(draining)
                wait_for(lambda: "draining" in draining.log)
                later = draining.push(shell("echo later"), "detach", repo="later")
                go_on(script)
    assert later.code == 0, later.output
    printed = [line for line in seen if line.startswith("line ")]
    assert client.returncode == 0 and printed == PRINTED.splitlines()
    assert any("succeeded" in line for line in seen)
    assert draining.process is not None and draining.process.wait(PATIENCE_S) == 0
    draining.start()
    run = draining.run_of(later)
    assert run["state"] == "succeeded"
    first = draining.api("/runs?repo=alice/long")["runs"][0]
    assert draining.read_log("runs", first["id"]).decode() == PRINTED
    all_is_kept(draining, [Told(later, b"later\n")])


@pytest.mark.fault(39)
def test_a_second_signal_ends_what_runs_and_it_starts_anew(draining: Service) -> None:
    pushed = draining.push(shell(ONCE), "detach", repo="endless")
    (run,) = draining.commit_page(pushed)["runs"]
    wait_for(lambda: draining.read_log("runs", run["id"]) == b"begun\n")
    ask_to_end(draining)
    wait_for(lambda: "draining" in draining.log)
    ask_to_end(draining)
    assert draining.process is not None and draining.process.wait(PATIENCE_S) == 0
    draining.start()
    assert draining.run_of(pushed)["state"] == "succeeded"


def test_a_drain_with_nothing_to_wait_for_ends_each_time(draining: Service) -> None:
    """Processes that waited for one another could miss each other, about once in six times."""
    for _ in range(4):
        assert draining.stop() == 0
        draining.start()
