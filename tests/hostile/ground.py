"""Where bad-input programs run, and what must hold there: it answers, is free again, and nothing is left."""

import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import httpx

from hermes.executors import instance_label
from hermes.executors.engine import connect
from hermes.settings import Settings
from tests.hostile.watch import MAX_WAIT_S, bounded_memory
from tests.programs import run_number, shell
from tests.service import PATIENCE_S, TRUST, Service, wait_for

MAX_LEFT_S = 45.0  # on a busy machine; less than until the next sweep: nobody waits for that
_CONTAINER = re.compile(r"docker[-/]([0-9a-f]{64})")


@dataclass
class Ground:
    """An instance whose runs hold all that it has, one at a time."""

    service: Service
    has_engine: bool

    @cached_property
    def _quiet_run(self) -> int:
        """A run of somebody who only wants to be next."""
        return run_number(self.service.push(shell("echo at last"), repo="quiet"))

    def prepare(self) -> "Ground":
        """Builds what follows every case."""
        assert self._quiet_run
        return self

    @contextmanager
    def answers(self) -> Iterator[None]:
        """Inside the block the service is asked how it is, all the time; it answers soon and does not
        fill the memory."""
        waits: list[float] = []
        ended = threading.Event()

        def ask() -> None:
            with httpx.Client(timeout=PATIENCE_S, verify=TRUST) as client:
                while not ended.wait(0.1):
                    began = time.monotonic()
                    answer = client.get(f"{self.service.url}/healthz")
                    assert answer.status_code == 200, answer.text
                    waits.append(time.monotonic() - began)

        with bounded_memory(self.service), ThreadPoolExecutor(1) as threads:
            asking = threads.submit(ask)
            try:
                yield
            finally:
                ended.set()
            asking.result()
        assert max(waits, default=0) < MAX_WAIT_S, f"/healthz took {max(waits):.1f} s"

    def next_run_succeeds(self) -> None:
        """The slot is free: whoever is next starts at once."""
        with self.service.client() as client:
            answer = client.post(f"/api/v1/runs/{self._quiet_run}/again")
        assert answer.is_success, answer.text
        number = answer.json()["id"]

        def ended() -> dict[str, Any] | None:
            run = self.service.api(f"/runs/{number}")
            return run if run["ended_at"] else None

        run = wait_for(ended, MAX_LEFT_S)
        assert (run["state"], self.service.read_log("runs", number)) == ("succeeded", b"at last\n")

    def is_clean(self) -> None:
        """No process, container, mount, disk or temporary file of anybody's run, and soon."""
        wait_for(lambda: not self._left(), MAX_LEFT_S)

    def kept(self, run: dict[str, Any]) -> dict[str, str]:
        """{path: content} of the artifacts."""
        with self.service.client() as client:
            return {each["path"]: client.get(each["url"]).text for each in run["artifacts"]}

    def _left(self) -> list[str]:
        data, spool = str(self.service.data), self.service.data / "spool"
        found = [
            Path(at, name) for at, *names in os.walk(spool) for name in chain(*names)
        ]  # others go meanwhile
        files = [str(path) for path in found if path != spool / "boxes"]
        mounts = Path("/proc/mounts").read_text().splitlines()
        disks = subprocess.run(
            ["losetup", "--list", "--noheadings"], capture_output=True, text=True, check=False
        )
        held = [line for line in (*mounts, *disks.stdout.splitlines()) if data in line]
        return [*files, *held, *self._processes(), *(self._containers() if self.has_engine else ())]

    def _processes(self) -> list[str]:
        """Whose program or working directory lies in a box; a box of the local executor is a folder."""
        boxes = str(self.service.data / "spool" / "boxes")
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            for name in ("exe", "cwd"):
                with suppress(OSError):
                    if str((entry / name).readlink()).startswith(boxes):
                        found.append(f"process {entry.name}: {(entry / 'exe').readlink()}")
        return found

    def _containers(self) -> list[str]:
        """Ours that the engine knows, and groups of processes that it knows no container for."""
        grouped = set()
        for file in Path("/proc").glob("[0-9]*/cgroup"):
            with suppress(OSError):
                grouped |= set(_CONTAINER.findall(file.read_text()))
        with closing(connect(PATIENCE_S)) as client:
            there = client.containers(all=True)
        label = instance_label(Settings(data=self.service.data))
        ours = {each["Id"] for each in there if each["Labels"].get("hermes.instance") == label}
        return [f"container {each}" for each in ours | (grouped - {each["Id"] for each in there})]
