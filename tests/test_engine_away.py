"""The Docker engine goes away in the middle of things and comes back: nothing is lost."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes.executors.engine import engine_socket
from tests.cable import Cable
from tests.programs import shell
from tests.promises import Told, all_is_kept
from tests.service import Service, living, wait_for
from tests.test_restart import ONCE


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
    pushed = cabled.push(shell(f"{ONCE}; echo whole"), "detach")
    (run,) = cabled.commit_page(pushed)["runs"]
    wait_for(lambda: cabled.read_log("runs", run["id"]) == b"begun\n")
    cable.pull_out()
    run = wait_for(lambda: (now := cabled.commit_page(pushed)["runs"][0])["state"] == "queued" and now)
    assert "engine" in run["ranks"][0]["reason"]
    cable.plug_in()
    run = cabled.run_of(pushed)
    assert run["state"] == "succeeded" and run["ranks"][0]["attempt"] == 2
    assert cabled.read_log("runs", run["id"]) == b"whole\n"


def test_pushes_wait_while_the_engine_is_away_and_use_up_no_attempt(cabled: Service, cable: Cable) -> None:
    cable.pull_out()
    pushed = cabled.push("ancestor-config", "detach")
    assert pushed.code == 0
    wait_for(lambda: "cannot look for work" in cabled.log)
    cable.plug_in()
    page = cabled.settled(pushed)
    assert page["runs"][0]["state"] == "succeeded" and page["builds"][0]["attempt"] <= 2


def test_an_engine_that_missed_why_a_program_was_killed_is_not_believed(
    cabled: Service, cable: Cable
) -> None:
    cable.misheard[b'"OOMKilled":true'] = b'"OOMKilled":null'
    greedy = shell("x=$(head -c 300000000 /dev/zero | tr '\\0' x)", '[run]\nmemory = "48M"')
    run = cabled.run_of(cabled.push(greedy, "detach", repo="greedy"))
    assert (run["state"], run["reason"]) == ("failed", "out of memory: its limit is 48 MiB (run.memory)")
    run = cabled.run_of(cabled.push(shell("kill -KILL $$"), "detach", repo="killed"))
    assert (run["state"], run["reason"]) == ("failed", "SIGKILL (killed)")


@pytest.mark.fault(29)
def test_an_engine_that_answers_no_more_keeps_nobody_else_waiting(cabled: Service, cable: Cable) -> None:
    stuck = cabled.push(shell("echo begun; sleep 60", '[run]\ntimeout = "5s"\n'), "detach", repo="stuck")
    wait_for(lambda: any(each["state"] == "running" for each in cabled.commit_page(stuck)["runs"]))
    run_id = cabled.commit_page(stuck)["runs"][0]["id"]
    cable.hang()
    meanwhile = cabled.push(shell("echo hello"), "detach", repo="meanwhile")
    assert meanwhile.code == 0
    with cabled.client() as client:
        assert client.get("/healthz").json()["status"] == "ok"
        assert client.get(f"/runs/{run_id}", headers={"Accept": "text/html"}).status_code == 200
    words = "the Docker engine did not answer within"
    wait_for(lambda: words in cabled.log)
    cable.go_on()
    run = cabled.run_of(stuck, 120)
    assert run["state"] == "timed_out" and run["ranks"][0]["attempt"] <= 2
    assert cabled.run_of(meanwhile, 120)["state"] == "succeeded"
    all_is_kept(cabled, [Told(stuck, b"begun\n"), Told(meanwhile, b"hello\n")])


@pytest.mark.fault(30)
def test_a_base_image_that_is_not_there_is_told_with_the_command_that_makes_it(
    engine: None, tmp_path: Path
) -> None:
    table = tmp_path / "images.toml"
    table.write_text('[away]\nreference = "hermes/not-there:1"\nlanguages = ["cpp"]\n')
    env = {"HERMES_EXECUTOR": "docker", "HERMES_POLL": "1", "HERMES_IMAGES": str(table)}
    with living(Service(tmp_path / "data", env)) as one:
        pushed = one.push(shell("echo hello"))
        build = one.settled(pushed)["builds"][0]
        assert (build["state"], build["attempt"]) == ("lost", 3)
        assert (
            "hermes/not-there:1 is not on this machine: `make images` makes it; trying again" in pushed.output
        )
        assert re.search(r"^hermes  build 1  lost: .*`make images` makes it", pushed.output, re.MULTILINE)
        assert one.run_of(pushed)["state"] == "lost"
        all_is_kept(one, [Told(pushed)])
