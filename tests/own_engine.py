"""A Docker engine of a test's own, beside the one that all others use: started, restarted, and cut off."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from hermes.executors.engine import connect
from tests.conftest import missing
from tests.programs import command_lines
from tests.service import PATIENCE_S, wait_for


@dataclass
class Engine:
    """Below `folder`, whose name is short: Unix sockets are in it."""

    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def host(self) -> str:
        """For DOCKER_HOST."""
        return f"unix://{self.folder}/docker.sock"

    def start(self, *options: str) -> None:
        """Returns when it answers. Its bridge is that of the other engine, whose rules are left alone."""
        for stale in ("pid", "docker.sock", "exec/containerd/containerd.pid"):
            (self.folder / stale).unlink(missing_ok=True)  # of one that was killed
        command = ["dockerd", "-H", self.host, "--iptables=false", "--ip6tables=false", "--log-level=warn"]
        for option, name in (("data-root", "root"), ("exec-root", "exec"), ("pidfile", "pid")):
            command.append(f"--{option}={self.folder / name}")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
        wait_for(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            missing(f"a second Docker engine ({(self.folder / 'log').read_text()[-500:]})")
        with suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.connect(f"{self.folder}/docker.sock")
            line.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in line.recv(64)
        return False

    def _client(self) -> Any:
        return docker.APIClient(base_url=self.host, timeout=int(PATIENCE_S))

    def stop(self) -> None:
        """In good order: with live-restore containers go on, else they are ended first."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(PATIENCE_S)

    def containers(self) -> list[str]:
        """The ids of all that there are."""
        with closing(self._client()) as client:
            return [str(each["Id"]) for each in client.containers(all=True)]

    def cut(self) -> None:
        """Everything of it ends at this moment, as when the power goes: itself and all its containers."""
        inside = programs(self.containers())
        for pid in (*(pid for pid, line in command_lines().items() if f"{self.folder}/" in line), *inside):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait(PATIENCE_S)

    def bring(self, reference: str) -> None:
        """An image from the engine that all tests use."""
        with closing(connect(120)) as shared, closing(self._client()) as client:
            for _ in client.load_image(shared.get_image(reference)):
                pass


def programs(containers: list[str]) -> list[int]:
    """What runs in these, whether there is an engine now or not."""
    found = []
    for pid in command_lines():
        with suppress(OSError):
            groups = Path(f"/proc/{pid}/cgroup").read_text()
            found += [pid] if any(f"/{each}" in groups for each in containers) else []
    return found


@contextmanager
def own_engine(folder: Path) -> Iterator[Engine]:
    """One that is up. Skips where there cannot be a second one."""
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        missing("root, or dockerd")
    folder.mkdir(parents=True, exist_ok=True)
    one = Engine(folder)
    try:
        one.start()
        yield one
        one.stop()
    finally:
        points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for point in reversed([each for each in points if each.startswith(f"{folder}/")]):
            subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(folder, ignore_errors=True)
