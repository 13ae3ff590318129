"""The Docker engine goes away in the middle of things and comes back: nothing is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes.executors.engine import engine_socket
from tests.cable import Cable
from tests.service import Service, wait_for


@pytest.fixture
def cable(engine: None, tmp_path: Path) -> Iterator[Cable]:
    one = Cable(tmp_path / "engine.sock", Path(engine_socket()))
    one.plug_in()
    yield one
    one.end()


@pytest.fixture
def cabled(cable: Cable, tmp_path: Path) -> Iterator[Service]:
    env = {"HERMES_EXECUTOR": "docker", "HERMES_POLL": "1", "DOCKER_HOST": f"unix://{cable.here}"}
    one = Service(tmp_path / "data", env)
    one.token = one.add_user(one.user)
    one.start()
    yield one
    cable.go_on()
    if not (tmp_path / "engine.sock").exists():
        cable.plug_in()
    assert one.stop() == 0


def test_a_run_survives_an_engine_that_goes_away(cabled: Service, cable: Cable) -> None:
    pushed = cabled.push("slow-printer", "detach")
    wait_for(lambda: any(each["state"] == "running" for each in cabled.commit_page(pushed)["runs"]))
    cable.pull_out()
    wait_for(lambda: cabled.commit_page(pushed)["runs"][0]["state"] == "queued")
    assert "engine" in cabled.commit_page(pushed)["runs"][0]["ranks"][0]["reason"]
    cable.plug_in()
    run = cabled.run_of(pushed)
    assert run["state"] == "succeeded" and run["ranks"][0]["attempt"] == 2
    assert cabled.read_log("runs", run["id"]).count(b"tick 10 of 10") == 1


def test_pushes_wait_while_the_engine_is_away_and_use_up_no_attempt(cabled: Service, cable: Cable) -> None:
    cable.pull_out()
    pushed = cabled.push("ancestor-config", "detach")
    assert pushed.code == 0
    wait_for(lambda: "cannot look for work" in cabled.log)
    cable.plug_in()
    page = cabled.settled(pushed)
    assert page["runs"][0]["state"] == "succeeded" and page["builds"][0]["attempt"] <= 2
