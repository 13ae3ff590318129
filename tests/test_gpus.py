"""GPUs: the real pynvml over a fake driver library, and whole pushes on such a machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gpus import FakeDriver, gpu
from tests.service import Service, wait_for

ASK = """
import json
from dataclasses import asdict
from runner.gpus import open_gpus
gpus, words = open_gpus("auto")
found = gpus.list()
uuids = [each.uuid for each in found]
print(json.dumps({"words": words, "list": [asdict(g) for g in found],
    "sample": [u.as_json() for u in gpus.sample(uuids)], "unclean": sorted(gpus.unclean(uuids))}))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> FakeDriver:
    return FakeDriver(tmp_path_factory.mktemp("nvml")).build()


def ask(env: dict[str, str]) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", ASK], env=os.environ | env, capture_output=True, check=True)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_gpus_are_listed_sampled_and_seen_as_unclean(driver: FakeDriver) -> None:
    driver.world(gpu(0, used_mib=2048, percent=87), gpu(1, pids="4242"))
    answer = ask(driver.env)
    assert answer["list"] == [
        {
            "uuid": f"GPU-fake-{n}",
            "index": n,
            "model": "NVIDIA-H200",
            "memory_bytes": 143771 << 20,
            "capability": "9.0",
        }
        for n in (0, 1)
    ]
    use = {"uuid": "GPU-fake-0", "percent": 87.0, "memory_bytes": 2048 << 20, "power_w": 120.0, "celsius": 35}
    sample = answer["sample"]
    assert isinstance(sample, list) and sample[0] == use
    assert answer["unclean"] == ["GPU-fake-1"]


def test_a_gpu_that_fell_off_the_bus_is_not_offered(driver: FakeDriver) -> None:
    driver.world(gpu(0), "lost")
    listed = ask(driver.env)["list"]
    assert isinstance(listed, list) and [each["uuid"] for each in listed] == ["GPU-fake-0"]


def test_no_driver_means_no_gpus_and_a_reason(tmp_path: Path) -> None:
    answer = ask({"LD_LIBRARY_PATH": str(tmp_path)})
    assert answer["list"] == [] and "no GPU" in str(answer["words"])


@pytest.fixture(scope="module")
def gpu_service(driver: FakeDriver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two fake GPUs and the local executor, which hands them out by CUDA_VISIBLE_DEVICES."""
    driver.world(gpu(0), gpu(1))
    env = {"HERMES_EXECUTOR": "local", "HERMES_CPUS": "8", "HERMES_POLL": "1", **driver.env}
    one = Service(tmp_path_factory.mktemp("gpus"), env)
    one.token = one.add_user(one.user)
    one.start()
    yield one
    assert one.stop() == 0


def holder(seconds: str = "0", gpu_table: str = "") -> dict[str, str | bytes]:
    """A program that says which GPUs it sees, and stays for a while."""
    return {
        "Makefile": "prog:\n\tcp prog.sh prog && chmod +x prog\n",
        "prog.sh": f"#!/bin/sh\necho sees $CUDA_VISIBLE_DEVICES\nsleep {seconds}\n",
        "hermes.toml": f'handler = "./prog"\n[run]\ncpus = 1\n[gpu]\n{gpu_table or "count = 1"}\n',
    }


def test_a_run_sees_its_own_gpu_and_no_other(gpu_service: Service) -> None:
    pushed = gpu_service.push(holder())
    assert pushed.code == 0 and "started on GPU 0 (NVIDIA-H200)" in pushed.output
    assert "sees GPU-fake-0" in pushed.lines


def test_a_run_without_gpus_sees_none(gpu_service: Service) -> None:
    assert "sees" in gpu_service.push(holder(gpu_table="count = 0")).lines


def test_two_gpus_can_be_held_at_once(gpu_service: Service) -> None:
    assert "sees GPU-fake-0,GPU-fake-1" in gpu_service.push(holder(gpu_table="count = 2")).lines


def test_one_run_owns_its_gpu_and_the_next_waits_with_a_reason(gpu_service: Service) -> None:
    first = gpu_service.push(holder("4", "count = 2"), "detach", repo="first")
    wait_for(lambda: gpu_service.commit_page(first)["runs"][0]["state"] == "running")
    second = gpu_service.push(holder())
    assert "waiting: GPU 0 (NVIDIA-H200) and GPU 1 (NVIDIA-H200) held by alice/first" in second.output
    assert "you are 1st" in second.output and "sees GPU-fake-0" in second.lines
    assert gpu_service.run_of(first)["state"] == "succeeded"


def test_a_gpu_with_a_strangers_process_is_not_given_away(gpu_service: Service, driver: FakeDriver) -> None:
    driver.world(gpu(0, pids="1"), gpu(1))
    try:
        assert "sees GPU-fake-1" in gpu_service.push(holder()).lines
    finally:
        driver.world(gpu(0), gpu(1))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("count = 3", "asks for 3 GPUs"),
        ('capability = "9.1"', "with capability 9.1"),
        ('model = "B200"', "of model B200"),
        ('memory = "200G"', "of 200 GiB"),
    ],
)
def test_what_is_impossible_here_is_refused_with_what_there_is(
    gpu_service: Service, table: str, words: str
) -> None:
    refused = gpu_service.push(holder(gpu_table=table if "count" in table else f"count = 1\n{table}"))
    assert refused.code == 1 and words in refused.output
    assert "impossible on this instance" in refused.output and "it has: NVIDIA-H200" in refused.output
