"""While a program runs, the box of the rank that comes next is made; it only starts when it is its turn."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hermes.executors.engine import connect
from tests.leftovers import containers, mounts, the_process
from tests.programs import shell
from tests.service import PATIENCE_S, Pushed, Service, wait_for

HOLDER = shell("echo begun; sleep 600")
WHERE = shell("cat /etc/hostname")  # the engine's name for its container


@pytest.fixture(scope="module")
def one_slot(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {"HERMES_EXECUTOR": "docker", "HERMES_CPUS": "1", "HERMES_POLL": "1s"}
    one = Service(tmp_path_factory.mktemp("ahead"), env)
    one.token = one.add_user(one.user)
    one.start()
    yield one
    assert one.stop() == 0
    assert not containers(one) and not mounts(one)
    assert "Traceback" not in one.log, one.log[one.log.index("Traceback") - 500 :][:4000]


@pytest.fixture
def holder(one_slot: Service) -> Iterator[Pushed]:
    """A program has the only slot."""
    pushed = one_slot.push(HOLDER, "detach")
    wait_for(lambda: run_of(one_slot, pushed)["state"] == "running")
    yield pushed
    cancel(one_slot, pushed)
    assert one_slot.run_of(pushed)["state"] == "cancelled"


def run_of(service: Service, pushed: Pushed) -> dict[str, Any]:
    """As it is now."""
    run: dict[str, Any] = service.commit_page(pushed)["runs"][0]
    return run


def cancel(service: Service, pushed: Pushed) -> None:
    with service.client() as client:
        client.post(f"/api/v1/runs/{run_of(service, pushed)['id']}/cancel")


def waiting(service: Service) -> list[str]:
    """The ids of containers that were made for ranks and not started."""
    with closing(connect(PATIENCE_S)) as api:
        made = api.containers(all=True, filters={"status": "created", "name": "-rank-"})
    return sorted({each["Id"] for each in made} & set(containers(service)))


def made_for(service: Service, pushed: Pushed) -> str:
    """The container that waits for the turn of this push."""
    assert run_of(service, pushed)["state"] == "queued"
    (container,) = wait_for(lambda: waiting(service))
    return container


def checkpoints(service: Service, pushed: Pushed) -> list[Path]:
    return list((service.data / "checkpoints").glob(f"{run_of(service, pushed)['id']}/*"))


def test_the_next_rank_starts_in_the_box_that_was_made_for_it(one_slot: Service, holder: Pushed) -> None:
    pushed = one_slot.push(WHERE, "detach")
    container = made_for(one_slot, pushed)
    cancel(one_slot, holder)
    run = one_slot.run_of(pushed)
    assert run["state"] == "succeeded"
    assert one_slot.read_log("runs", run["id"]).decode().strip() == container[:12]
    wait_for(lambda: not containers(one_slot) and not mounts(one_slot))


def test_a_box_whose_rank_does_not_come_is_removed(one_slot: Service, holder: Pushed) -> None:
    pushed = one_slot.push(WHERE, "detach")
    made_for(one_slot, pushed)
    cancel(one_slot, pushed)
    wait_for(lambda: len(containers(one_slot)) == 1 and not checkpoints(one_slot, pushed))
    assert run_of(one_slot, holder)["state"] == "running"
    second = one_slot.push(WHERE, "detach")
    made_for(one_slot, second)
    cancel(one_slot, second)
    assert one_slot.run_of(second)["state"] == "cancelled"
    wait_for(lambda: len(containers(one_slot)) == 1)


def test_a_box_of_a_killed_runner_is_swept_and_never_adopted(one_slot: Service, holder: Pushed) -> None:
    pushed = one_slot.push(WHERE, "detach")
    first = made_for(one_slot, pushed)
    over = one_slot.push(WHERE, "detach")
    cancel(one_slot, over)
    forgotten = one_slot.data / "checkpoints" / str(one_slot.run_of(over)["id"])
    forgotten.mkdir(parents=True)
    os.kill(the_process(one_slot, "hermes runner"), signal.SIGKILL)
    try:
        second = wait_for(lambda: next((each for each in waiting(one_slot) if each != first), None))
    except AssertionError as error:
        raise AssertionError(f"{containers(one_slot)} {first}\n{one_slot.log[-6000:]}") from error
    wait_for(lambda: not forgotten.exists())  # that, too, is swept
    wait_for(lambda: first not in (there := containers(one_slot)) and len(there) == 2)
    assert run_of(one_slot, holder)["state"] == "running"
    cancel(one_slot, holder)
    run = one_slot.run_of(pushed)
    assert run["state"] == "succeeded"
    assert one_slot.read_log("runs", run["id"]).decode().strip() == second[:12]


def test_a_box_that_somebody_took_away_is_made_anew(one_slot: Service, holder: Pushed) -> None:
    pushed = one_slot.push(WHERE, "detach")
    container = made_for(one_slot, pushed)
    with closing(connect(PATIENCE_S)) as api:
        api.remove_container(container, force=True)
    cancel(one_slot, holder)
    run = one_slot.run_of(pushed)
    rank = one_slot.api(f"/runs/{run['id']}")["ranks"][0]
    assert (rank["state"], rank["attempt"]) == ("succeeded", 1)


def test_what_was_made_is_gone_when_the_service_has_ended(one_slot: Service, holder: Pushed) -> None:
    pushed = one_slot.push(WHERE, "detach")
    made_for(one_slot, pushed)
    assert one_slot.stop() == 0
    assert not containers(one_slot) and not mounts(one_slot)
    one_slot.start()
    cancel(one_slot, holder)
    assert one_slot.run_of(pushed)["state"] == "succeeded"
