"""The simplest way to run Hermes: no engine, no Redis. Slower to notice things, and complete."""

import re
from pathlib import Path

import pytest

from tests.files import paths_below
from tests.programs import arrivals, begin_push, command_lines, shell
from tests.service import Service, wait_for
from tests.test_executors import NAP
from tests.test_samples import try_sample

SAMPLES = ["pi-montecarlo", "failing-compile", "crash", "time-out", "out-of-memory", "ancestor-config"]


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_does_what_it_promises_without_an_engine(local_service: Service, name: str) -> None:
    assert try_sample(local_service, name) == []


def test_operator_is_told_that_this_is_for_trusted_users(local_service: Service) -> None:
    loud = [line for line in local_service.log.splitlines() if "THE LOCAL EXECUTOR IS IN USE" in line]
    assert len(loud) == 2, loud  # builder, runner
    for line in loud:
        assert "processes of this machine, for trusted users only" in line and "HERMES_TRUST" in line
        assert "in bubblewrap" in line or "apt-get install bubblewrap" in line or "user namespaces" in line


def test_health_says_that_the_doorbell_is_away_and_that_all_works(local_service: Service) -> None:
    with local_service.client("") as client:
        health = client.get("/healthz").json()
    assert (health["status"], health["degraded"], health["redis"]) == ("ok", True, False)


def test_push_without_a_doorbell_is_found_by_looking(local_service: Service) -> None:
    pushed = local_service.push(shell("echo hello"))
    assert pushed.code == 0 and "hello" in pushed.lines


def test_running_run_can_be_cancelled_without_a_doorbell(local_service: Service) -> None:
    tree = local_service.worktree(shell(f"echo begun; {NAP}"))
    with begin_push(local_service, tree, "cancel") as client:
        lines = []
        for _, line in arrivals(client):
            lines.append(line)
            if line == "begun":
                number = next(found[1] for each in lines if (found := re.match(r"hermes  run (\d+) ", each)))
                with local_service.client() as http:
                    assert http.post(f"/api/v1/runs/{number}/cancel").is_success
    assert any("cancelled by alice" in line for line in lines), lines
    wait_for(lambda: NAP not in " ".join(command_lines().values()))


def test_program_does_not_see_the_services_own_environment(local_service: Service) -> None:
    pushed = local_service.push(shell("env"))
    names = {line.partition("=")[0] for line in pushed.lines}
    assert {"HERMES_RUN", "HERMES_OUTPUT_DIR", "RANK"} <= names
    assert not names & {"HERMES_DATA", "HERMES_PORT", "HERMES_REDIS_URL", "DOCKER_HOST", "VIRTUAL_ENV"}


def test_ranks_and_artifacts_work_too(local_service: Service) -> None:
    files = shell(
        'echo "rank $RANK" | tee "$HERMES_OUTPUT_DIR/$RANK.txt"', "[run]\ncpus = 1\n[ranks]\nrepeat = 2"
    )
    pushed = local_service.push(files)
    assert {"[0] rank 0", "[1] rank 1"} <= set(pushed.lines)
    run = local_service.run_of(pushed)
    assert {(each["path"], each["rank"]) for each in run["artifacts"]} == {("0.txt", 0), ("1.txt", 1)}


def test_nothing_is_left_in_the_data_directory_of_runs_that_are_over(local_service: Service) -> None:
    boxes = Path(local_service.data / "spool" / "boxes")
    wait_for(lambda: list(boxes.iterdir()) == [])
    wait_for(lambda: not [path for path in paths_below(local_service.data / "spool") if path.is_file()])
