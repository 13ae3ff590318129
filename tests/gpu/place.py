"""Where the tests that need a real GPU run: what the driver lists here, and who can hand it to programs.

`python -m tests.gpu.place` prints the executor, for scripts/setup."""

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass

from docker.errors import DockerException

from hermes.doctor.gpus import way_into_containers
from hermes.driver import DriverState, GpuState
from hermes.executors.engine import connect

EXPLICIT = "HERMES_TEST_GPU"  # set by `make test-gpu`: a machine without a GPU is an error
_ANSWER_S = 60.0  # without persistence mode each of many GPUs takes seconds to wake up


@dataclass(frozen=True)
class Place:
    """The GPUs (or instances of divided ones) that nobody uses, and the executor."""

    driver: DriverState
    gpus: tuple[GpuState, ...]
    executor: str

    @property
    def instances(self) -> tuple[GpuState, ...]:
        """Those that are parts of a GPU that is divided by MIG."""
        return tuple(gpu for gpu in self.gpus if gpu.instance is not None)

    @property
    def least_memory_bytes(self) -> int:
        """Of any of them."""
        return min(gpu.memory_bytes for gpu in self.gpus)

    def gpu(self, uuid: str) -> GpuState:
        """The one that a slot names."""
        return next(gpu for gpu in self.gpus if gpu.uuid == uuid)


def look() -> DriverState:
    """What the driver says, asked in a process of its own as the service does."""
    done = subprocess.run(
        [sys.executable, "-m", "runner.look"], input="\n", capture_output=True, text=True, timeout=_ANSWER_S
    )
    assert done.returncode == 0, done.stderr
    return DriverState.model_validate_json(done.stdout)


def why_none(driver: DriverState) -> str:
    """Why nothing here can be tested on; "" if something can."""
    if not driver.gpus:
        return f"no GPU here: {driver.words.removeprefix('no GPU ').strip('()')}"
    if not any(map(_is_free, driver.gpus)):
        states = (gpu.error or f"in use by process {', '.join(map(str, gpu.pids))}" for gpu in driver.gpus)
        return f"no GPU here is free: {'; '.join(states)}"
    return ""


def place(driver: DriverState) -> Place:
    """This machine."""
    return Place(driver, tuple(filter(_is_free, driver.gpus)), executor())


def _is_free(gpu: GpuState) -> bool:
    return not gpu.error and not gpu.pids


def executor() -> str:
    """`docker` if an engine is there and can hand out GPUs, else `local`; HERMES_EXECUTOR overrules."""
    asked = os.environ.get("HERMES_EXECUTOR", "auto")
    if asked != "auto":
        return asked
    try:
        with closing(connect(10)) as client:
            return "docker" if way_into_containers(client.info()) else "local"
    except (DockerException, OSError):
        return "local"


if __name__ == "__main__":
    print(executor())
