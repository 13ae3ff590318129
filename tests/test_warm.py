"""Containers that wait for the next call: each for one, with nothing of it, gone when nobody calls."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from docker.errors import APIError

from hermes.executors.docker import DockerExecutor
from hermes.executors.engine import connect
from hermes.executors.warm import kind_of
from tests.conftest import missing
from tests.files import found_in
from tests.leftovers import containers, mounts
from tests.programs import command_lines, go_on, shell, told
from tests.service import Service, living, wait_for
from tests.test_adoption import kill_runner
from tests.test_executors import LABEL, Bench

SEEN = """
cat /etc/hostname; ls /app/left 2>/dev/null; touch /app/left
for each; do echo "[$each]"; done; cat; cat "$HERMES_INPUT_DIR"/* 2>/dev/null
echo "$TOKEN" | rev
"""
SECRET = "Zq7-warm-secret"
ARGS = ("a b", "it's $HOME", "")
WORDS = {"[a b]", "[it's $HOME]", "[]", "given", "read", SECRET[::-1]}
ENV = ('ONE=x\'y "z"\n$HOME `id`', "OPTIND=none", "PWD=/else", "IFS=x")


@pytest.fixture(scope="module")
def house(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    if os.geteuid() != 0:
        missing("root, which bounded disks need,")
    env = {"HERMES_EXECUTOR": "docker", "HERMES_POLL": "1s", "HERMES_WARM": "1", "HERMES_WARM_TIME": "20s"}
    with living(Service(tmp_path_factory.mktemp("warm"), env)) as one:
        assert one.push(shell(SEEN), repo="seen").code == 0
        yield one
    assert not containers(one) and not mounts(one) and not boxes(one)


def boxes(service: Service) -> list[str]:
    """The folders of all that is or was started there."""
    return [path.name for path in folders(service)]


def folders(service: Service) -> list[Path]:
    return [*(service.data / "spool" / "boxes").glob("*")]


def waiting(service: Service) -> list[str]:
    """The ids of containers that are nobody's yet, and whose shell is there."""
    taken = {path.readlink().name for path in folders(service) if path.is_symlink()}
    with closing(connect(10)) as api:
        made = api.containers(filters={"status": "running", "name": "-warm-"})
    free = {each["Id"] for each in made if each["Names"][0].lstrip("/") not in taken}
    return sorted(free & set(containers(service)))


def the_one(service: Service) -> str:
    (container,) = wait_for(lambda: waiting(service))
    return str(container)


def keep_secret(service: Service, repo: str) -> None:
    with service.client() as client:
        client.put(f"/api/v1/repos/alice/{repo}/secrets/TOKEN", json={"value": SECRET})


def until_gone(service: Service, container: str) -> None:
    wait_for(lambda: container not in containers(service))


def call(service: Service, query: str = "", name: str = "seen", **more: Any) -> tuple[int, str, str]:
    """The run, in what it ran (warm or cold), what it wrote."""
    with service.client() as client:
        answer = client.post(f"/api/v1/functions/alice/{name}/runs?mode=sync&{query}", **more)
    assert answer.status_code == 200, answer.text
    run = int(answer.headers["X-Hermes-Run"])
    (rank,) = service.api(f"/runs/{run}")["ranks"]
    assert (rank["state"], rank["attempt"]) == ("succeeded", 1)
    return run, rank["summary"]["start"], answer.text


def test_a_call_starts_in_the_container_that_waited_and_nothing_is_left_of_the_call_before(
    house: Service,
) -> None:
    call(house)
    for _ in range(2):
        container = the_one(house)
        run, how, output = call(house)
        assert how == "warm" and output.startswith(container[:12]) and "left" not in output
        assert house.read_log("runs", run).decode().splitlines()[0] == container[:12]
        until_gone(house, container)


def test_a_call_finds_the_same_in_a_container_that_waited_as_in_one_made_for_it(house: Service) -> None:
    variables = shell("") | {"hermes.toml": 'handler = "env"\n[run]\nargs = []\n'}
    assert house.push(variables, repo="variables").code == 0
    for name in ("seen", "variables"):
        keep_secret(house, name)
    args, env = urlencode({"arg": ARGS}, doseq=True), urlencode({"env": ENV}, doseq=True)
    files = [("stdin", ("stdin", b"given\n")), ("file", ("in.txt", b"read\n"))]
    seen = [call_with_500_mb(house, how, args, "seen", files=files) for how in ("cold", "warm")]
    assert seen[0] == seen[1] and {*seen[0]} >= WORDS and "left" not in seen[0]
    seen = [call_with_500_mb(house, how, env, "variables") for how in ("cold", "warm")]
    assert seen[0] == seen[1] and {*"\n".join(ENV).splitlines(), "TOKEN=***"} <= {*seen[0]}


def call_with_500_mb(service: Service, expected: str, query: str, name: str, **more: Any) -> list[str]:
    """What it has written, sorted and without what is every call's own; so much is in no other test."""
    before = waiting(service)
    run, how, output = call(service, f"{query}&run.memory=500M", name, **more)
    (rank,) = service.api(f"/runs/{run}")["ranks"]
    assert how == expected and rank["slot"]["memory_bytes"] == 500 << 20
    wait_for(lambda: {*waiting(service)} - {*before})
    own = re.compile("(HOSTNAME=|HERMES_RUN=|HERMES_URL=).*|[0-9a-f]{12}")
    return sorted(line for line in output.splitlines() if not own.fullmatch(line))


def test_a_secret_of_a_call_is_on_no_command_line_and_on_no_disk(house: Service) -> None:
    script, files = told("echo begun; [ $# = 0 ] && told=1", "echo $TOKEN")  # it waits with an argument
    assert house.push(files, repo="slow").code == 0
    keep_secret(house, "slow")
    before = waiting(house)  # of another kind: it goes, and one for this function comes
    call(house, name="slow")
    wait_for(lambda: {*waiting(house)} - {*before})
    with house.client() as client:
        answer = client.post("/api/v1/functions/alice/slow/runs?arg=wait").json()
        wait_for(lambda: "begun" in house.read_log("runs", answer["id"]).decode())
        assert on_disk(house) == []
        seen = {*command_lines().values()}
        go_on(f"{script} wait")
        while house.api(f"/runs/{answer['id']}")["state"] != "succeeded":
            seen |= {*command_lines().values()}
    assert house.api(f"/runs/{answer['id']}")["ranks"][0]["summary"]["start"] == "warm"
    assert any(script in line for line in seen) and not any(SECRET in line for line in seen)
    wait_for(lambda: found_in(house.data, [SECRET]) == [])


def on_disk(service: Service) -> list[str]:
    """Where the secret is, apart from what is in memory."""
    found = [each.removeprefix(f"{SECRET} in ") for each in found_in(service.data, [SECRET])]
    return [path for path in found if file_system(path) != "tmpfs"]


def file_system(path: str) -> str:
    words = ["stat", "--file-system", "--format=%T", path]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_nothing_waits_longer_than_it_may(house: Service) -> None:
    call(house)
    the_one(house)
    wait_for(lambda: not containers(house) and not mounts(house) and not boxes(house))


def test_what_waits_is_swept_when_its_runner_is_killed(house: Service) -> None:
    call(house)
    container = the_one(house)
    kill_runner(house)
    wait_for(lambda: container not in containers(house) and not mounts(house) and not boxes(house))
    assert call(house)[1] == "cold"


def test_a_program_in_a_container_that_waited_outlives_its_runner(house: Service) -> None:
    assert house.push(shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done"), repo="counts").code == 0
    call(house, name="counts")
    the_one(house)
    with house.client() as client:
        run = client.post("/api/v1/functions/alice/counts/runs").json()["id"]
    wait_for(lambda: b"2" in house.read_log("runs", run))
    kill_runner(house)
    wait_for(lambda: house.api(f"/runs/{run}")["ended_at"])
    (rank,) = house.api(f"/runs/{run}")["ranks"]
    assert (rank["state"], rank["attempt"], rank["summary"]["start"]) == ("succeeded", 1, "warm")
    assert house.read_log("runs", run).split() == [b"1", b"2", b"3", b"4", b"5", b"6"]
    wait_for(lambda: not [name for name in boxes(house) if "-rank-" in name])


def test_what_somebody_took_away_is_made_anew(house: Service) -> None:
    def is_taken() -> bool:
        call(house)
        with closing(connect(10)) as api, suppress(APIError):  # its time was over at this moment
            api.remove_container(the_one(house), force=True)
            return True
        return False

    wait_for(is_taken)
    assert call(house)[0]
    wait_for(lambda: len(containers(house)) <= 2)


async def test_what_was_taken_and_not_started_is_its_tasks_and_nobody_elses(
    engine: None, tmp_path: Path
) -> None:
    """A runner is killed between the two: another one finds a box of that name, and removes all of it."""
    if os.geteuid() != 0:
        missing("root, which bounded disks need,")
    first, second = (DockerExecutor(tmp_path / "boxes", f"{LABEL}-{tmp_path.name}") for _ in range(2))
    await first.check()
    await second.check()
    task = Bench(first, tmp_path).task("echo never")
    await first.keep_warm([task])
    assert await first.boxes() == []
    (name,) = await second.boxes()
    assert "-warm-" in name
    ready = await first._warm.take(task)
    assert ready is not None and ready.name == name and await first.boxes() == []
    first._maker.hand_over(task, ready.name)
    first._warm.let_go(ready)
    assert await second.boxes() == await first.boxes() == [task.name]
    await second.remove(task.name)
    assert await second.boxes() == [] and not list((tmp_path / "boxes").glob("*"))
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    await first.close()
    await second.close()


def test_gpus_limits_and_network_are_of_a_kind_and_what_is_started_is_not(tmp_path: Path) -> None:
    task = Bench(DockerExecutor(tmp_path, "none"), tmp_path).task("echo")
    alike = replace(task, name="x", command=("y",), env={"Z": ""}, secrets={"S": "s"}, stdin=tmp_path)
    assert kind_of(alike) == kind_of(task)
    for other in ({"gpus": ("GPU-1",)}, {"network": True}, {"image": "x"}, {"tree": tmp_path}):
        assert kind_of(replace(task, **other)) != kind_of(task)
