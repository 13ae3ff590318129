"""What keeps one user from having everything: turns, bounds on ranks and GPU time, pools. Through pushes."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes.errors import SettingsError
from hermes.pools import load_pools
from tests.gpus import FakeDriver, gpu
from tests.programs import command_lines
from tests.service import Pushed, Service, wait_for

POOLS = """
[lab]
gpus = [1]
users = ["alice"]
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Three CPUs, of which a user may have two; GPU 0 is everybody's, GPU 1 alice's."""
    folder = tmp_path_factory.mktemp("bounds")
    (folder / "pools.toml").write_text(POOLS)
    driver = FakeDriver(folder).build().world(gpu(0), gpu(1))
    env = {
        "HERMES_EXECUTOR": "local",
        "HERMES_TRUST": "all",
        "HERMES_CPUS": "3",
        "HERMES_POLL": "1",
        "HERMES_USER_RANKS": "2",
        "HERMES_USER_QUEUED": "30",
        "HERMES_QUEUED": "45",
        "HERMES_USER_GPU_TIME": "2s",
        "HERMES_POOLS": str(folder / "pools.toml"),
        **driver.env,
    }
    one = Service(folder / "data", env)
    one.token = one.add_user(one.user)
    one.start()
    yield one
    assert one.stop() == 0


@pytest.fixture(scope="module")
def bob(house: Service) -> str:
    return house.add_user("bob")


def sleeper(seconds: float | str, more: str = "", gpu: str = "count = 0") -> dict[str, str | bytes]:
    return {
        "Makefile": "all:\n\t@true\n",
        "main.sh": f"echo sees $CUDA_VISIBLE_DEVICES\nsleep {seconds}\n",
        "hermes.toml": f'handler = "sh main.sh"\n[run]\ncpus = 1\nmemory = "32M"\n[gpu]\n{gpu}\n{more}\n',
    }


def cancel(house: Service, run: int, token: str = "") -> None:
    with house.client(token or None) as client:
        assert client.post(f"/api/v1/runs/{run}/cancel").status_code in (200, 202)


@contextmanager
def counting(mark: str) -> Iterator[list[int]]:
    """How many sleep at a time with this in their words, again and again until the block ends."""
    found: list[int] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            lines = command_lines().values()
            found.append(sum(line.startswith("sleep ") and mark in line for line in lines))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def test_one_run_of_many_ranks_delays_another_user_by_one_turn(house: Service, bob: str) -> None:
    mark = f".25{os.getpid()}"
    some_end = f"$([ $RANK -lt 6 ] && echo 1{mark} || echo 600{mark})"
    with counting(mark) as at_a_time:
        flood = house.push(sleeper(some_end, "[ranks]\nrepeat = 24"), "detach", repo="flood")
        wait_for(lambda: house.commit_page(flood)["runs"][0]["state"] == "running")
        small = house.push(sleeper(0), user="bob", token=bob, repo="bob/small")
        assert small.code == 0 and "succeeded" in small.output
        (run,) = house.commit_page(flood)["runs"]

        def states() -> list[str]:
            return [rank["state"] for rank in house.api(f"/runs/{run['id']}")["ranks"]]

        assert states().count("queued") > 5, "it was not behind all of them, two at a time"
        wait_for(lambda: states()[:8] == ["succeeded"] * 6 + ["running"] * 2)
    assert max(at_a_time) == 2
    waiting = house.push(sleeper(0), "detach", repo="own")
    wait_for(lambda: "same user to end: 2 at a time (HERMES_USER_RANKS)" in waiting_for(house, "own"))
    cancel(house, run["id"])
    assert house.run_of(waiting)["state"] == "succeeded"


def waiting_for(house: Service, repo: str, user: str = "alice", token: str = "") -> str:
    """Why the run of this repo waits, as its user can ask."""
    with house.client(token or None) as client:
        queue = client.get("/api/v1/gpus").json()["queue"]
    found = [each["why"] for each in queue if each["repo"] == f"{user}/{repo}"]
    return found[0] if found else ""


def test_a_queue_has_an_end_for_one_user_and_for_all(house: Service, bob: str) -> None:
    first = house.push(sleeper(60, "[ranks]\nrepeat = 30"), "detach", repo="long")
    assert first.code == 0
    refused = house.push(sleeper(0, "[ranks]\nrepeat = 20"), repo="more")
    assert refused.code == 1 and "this push adds 20: the limit is 30" in refused.output
    assert "cancel some, or push with -o skip" in refused.output
    theirs = house.push(sleeper(0, "[ranks]\nrepeat = 25"), user="bob", token=bob, repo="bob/many")
    assert theirs.code == 1 and "this instance has" in theirs.output and "the limit is 45" in theirs.output
    assert house.push(sleeper(0, "[ranks]\nrepeat = 20"), "skip", repo="stored").code == 0
    cancel(house, house.commit_page(first)["runs"][0]["id"])
    house.settled(first)


def test_gpus_of_a_pool_are_for_its_people(house: Service, bob: str) -> None:
    assert "sees GPU-fake-1" in house.push(sleeper(0, gpu='count = 1\npool = "lab"')).lines
    refused = house.push(sleeper(0, gpu='count = 1\npool = "lab"'), user="bob", token=bob, repo="bob/lab")
    assert refused.code == 1 and "gpu.pool = 'lab': no such pool for you here" in refused.output
    both = house.push(sleeper(0, gpu="count = 2"), user="bob", token=bob, repo="bob/two")
    assert both.code == 1 and "2 GPUs: impossible on this instance" in both.output
    assert (
        "sees GPU-fake-0"
        in house.push(sleeper(0, gpu="count = 1"), user="bob", token=bob, repo="bob/x").lines
    )


def test_who_had_gpus_for_long_enough_waits_for_tomorrow(house: Service) -> None:
    carol = house.add_user("carol")  # who had none yet, however long the runs of the others took

    def push(repo: str, files: dict[str, str | bytes], *options: str) -> Pushed:
        pushed = house.push(files, *options, user="carol", token=carol, repo=f"carol/{repo}")
        assert pushed.code == 0, pushed.output
        return pushed

    push("early", sleeper(2.2, gpu="count = 1"))
    late = push("late", sleeper(0, gpu="count = 1"), "detach")

    def is_told() -> bool:
        why = waiting_for(house, "late", "carol", carol)
        return why.startswith("for GPU time: its user had") and why.endswith("of 2 s in the last 24 hours")

    wait_for(is_told)
    push("elsewhere", sleeper(0))  # CPUs are not GPUs
    with house.client(carol) as client:
        page = client.get(f"/api/v1/repos/carol/late/commits/{late.sha}").json()
    cancel(house, page["runs"][0]["id"], carol)


def test_a_table_of_pools_that_names_a_gpu_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pools.toml"
    file.write_text("[a]\ngpus = [0]\n[b]\ngpus = ['0']\n")
    with pytest.raises(SettingsError, match="GPU 0 is in 'a' and in 'b'"):
        load_pools(file)
