"""The rivals of bench.runner: a bare `docker run`, and the engine's own calls with the flags of our boxes.

Nothing of ours is in either: no disk with a limit, no log on disk, no records, no samples, no artifacts."""

import subprocess
import time
from pathlib import Path
from typing import Any

from bench._by_hand import first_byte
from bench._tools import IMAGE
from hermes.executors.base import Limits, Task
from hermes.executors.container import USER, hardening
from hermes.executors.engine import connect

MEMORY_BYTES = 1 << 30
_RUN = ("docker", "run", "--network", "none", "--user", USER, "--cpus", "1", "--memory", str(MEMORY_BYTES))
_FLAGS = Task("", IMAGE, (), Path(), Limits(cpus=1, memory_bytes=MEMORY_BYTES, disk_bytes=0))


def docker_run(*words: str) -> list[str]:
    """A command line that runs `words` and cleans up; no network, as our boxes (with one it takes longer)."""
    return [*_RUN, "--rm", IMAGE, *words]


def docker_run_detached(*words: str) -> list[str]:
    """The same in the background, to be removed by whoever asked for it: its id is printed."""
    return [*_RUN, "--detach", IMAGE, *words]


def until_first_byte(program: str) -> float:
    """Seconds of a `docker run` of a shell program until it prints."""
    return first_byte(docker_run("sh", "-c", program), cwd=Path("/"))[0]


def loop(times: int) -> float:
    """Seconds a container when `docker run` of a program that does nothing is called again and again."""
    began = time.monotonic()
    for _ in range(times):
        subprocess.run(docker_run("sh", "-c", "true"), check=True)
    return (time.monotonic() - began) / times


class Engine:
    """What the engine itself takes, without the client program and with all flags of a box."""

    def __init__(self) -> None:
        self._api: Any = connect(60.0)

    def until_first_byte(self, program: str) -> float:
        """Seconds from the call that makes a container until the program in it prints."""
        began = time.monotonic()
        config = self._api.create_host_config(**hardening(_FLAGS))
        container = self._api.create_container(IMAGE, ["sh", "-c", program], user=USER, host_config=config)
        try:
            output = self._api.attach_socket(container, {"stdout": 1, "stderr": 1, "stream": 1})
            try:
                self._api.start(container)
                assert output.read(1), "the program printed nothing"
                return time.monotonic() - began
            finally:
                output._response.close()  # it holds the connection
                output.close()
        finally:
            self._api.remove_container(container, force=True)

    def close(self) -> None:
        """Give the connections back."""
        self._api.close()
