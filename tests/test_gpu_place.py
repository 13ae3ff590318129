"""The tests that need a real GPU, as far as a machine without one can tell: what they push compiles, and who
runs them is told in words why nothing was tested."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.place import EXPLICIT
from tests.gpu.program import files, most_at_once, program_names
from tests.gpus import FakeDriver, gpu
from tests.service import Service

ROOT = Path(__file__).parent.parent


def run_gpu_tests(driver: FakeDriver, **env: str) -> "subprocess.CompletedProcess[str]":
    """pytest on tests/gpu, on a machine with this driver."""
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-p", "no:cacheprovider", "--color", "no"]
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", EXPLICIT)}
    return subprocess.run(
        command, cwd=ROOT, env=clean | driver.env | env, capture_output=True, text=True, check=False
    )


def chosen_executor(**env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.place"],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def driver(tmp_path: Path) -> FakeDriver:
    """Not loaded, until there is a world."""
    return FakeDriver(tmp_path).build()


@pytest.mark.parametrize("env", [{}, {"CI": "1"}], ids=["at home", "in CI"])
def test_without_a_gpu_each_is_left_out_with_the_reason(driver: FakeDriver, env: dict[str, str]) -> None:
    done = run_gpu_tests(driver, **env)
    assert done.returncode == 0, done.stdout
    assert "no GPU here: Driver Not Loaded" in done.stdout
    assert " passed" not in done.stdout and " skipped in " in done.stdout


def test_who_asks_for_them_without_a_gpu_is_told_and_fails(driver: FakeDriver) -> None:
    done = run_gpu_tests(driver, **{EXPLICIT: "1"})
    assert done.returncode == 1
    assert "no GPU here: Driver Not Loaded" in done.stdout and "nvidia-smi" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_gpu_that_somebody_computes_on_is_not_tested_on(driver: FakeDriver) -> None:
    driver.world(gpu(0, pids="4242"), "lost")
    done = run_gpu_tests(driver, **{EXPLICIT: "1"})
    assert done.returncode == 1
    assert "no GPU here is free: in use by process 4242; GPU is lost" in done.stdout


@pytest.mark.parametrize("name", program_names())
def test_what_they_push_compiles(service: Service, name: str) -> None:
    pushed = service.push(files(name), "build-only")
    assert pushed.code == 0, pushed.output
    (build,) = service.settled(pushed)["builds"]
    assert build["state"] == "built", pushed.output
    assert "warning" not in service.read_log("builds", build["id"]).decode()


def test_without_an_engine_the_local_executor_is_chosen(tmp_path: Path) -> None:
    assert chosen_executor(DOCKER_HOST=f"unix://{tmp_path}/none") == "local"


def test_an_engine_that_can_hand_out_gpus_is_chosen(engine: None, tmp_path: Path) -> None:
    hook = tmp_path / "nvidia-container-runtime-hook"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    assert chosen_executor(PATH=f"{tmp_path}:{os.environ['PATH']}") == "docker"
    assert chosen_executor(PATH=f"{tmp_path}:{os.environ['PATH']}", HERMES_EXECUTOR="local") == "local"


def test_what_was_held_at_once_is_added_up_and_what_followed_is_not() -> None:
    assert most_at_once([(0.0, 2.0, 5), (2.0, 3.0, 7), (2.5, 4.0, 1)]) == 8
    assert most_at_once([]) == 0
