"""What a hostile request must not do meanwhile: fill the memory, leave files, keep others waiting."""

import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.files import paths_below
from tests.hostile.case import authorization
from tests.hostile.packs import plain
from tests.hostile.writer import request
from tests.leftovers import the_process
from tests.service import PATIENCE_S, Service, wait_for

MAX_GROWTH = 200 << 20
MAX_WAIT_S = 10.0  # it takes a tenth of a second; a busy machine may stand still for some


def spent_cpu_s(service: Service) -> float:
    """What the server has computed, with all its children that have ended: however busy the machine is."""
    fields = Path(f"/proc/{the_process(service, 'hermes web')}/stat").read_text().rpartition(")")[2].split()
    return sum(int(each) for each in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int, what: str) -> int:
    found = re.search(rf"^{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


@contextmanager
def bounded_memory(service: Service) -> Iterator[None]:
    """The server's resident memory never grows by 200 MiB inside the block."""
    pid = the_process(service, "hermes web")
    before = _memory(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the high-water mark begins anew (man 5 proc)
    yield
    grown = _memory(pid, "VmHWM") - before
    assert grown < MAX_GROWTH, f"the server grew by {grown >> 20} MiB"


def files_of(service: Service, but: Path | None = None) -> dict[str, int]:
    """Everything in all repositories, with its size."""
    found = {}
    for path in paths_below(service.data / "repos"):
        if but is None or not path.is_relative_to(but):
            found[str(path)] = path.stat().st_size if path.is_file() else 0
    return found


@contextmanager
def nothing_stored(service: Service, but: Path | None = None) -> Iterator[None]:
    """No ref, no object, no leftover of a quarantine, no directory; `but`: a repository that others use."""
    before = files_of(service, but).items()
    yield
    with suppress(AssertionError):  # git may still be taking away what it had begun
        wait_for(lambda: files_of(service, but).items() == before)
    now = files_of(service, but).items()
    assert now == before, f"new: {sorted(now - before)[:9]}, gone: {sorted(before - now)[:9]}"


class Neighbour:
    """Somebody else, who asks for refs and pushes all the time, and notes how long each answer takes."""

    def __init__(self, service: Service, user: str) -> None:
        own = {"Authorization": authorization(user, service.add_user(user))}
        self._client = httpx.Client(
            base_url=f"{service.url}/{user}/quiet.git", timeout=PATIENCE_S, headers=own, verify=False
        )
        before = set((service.data / "repos").glob("*"))
        self._refs()
        (self.folder,) = set((service.data / "repos").glob("*")) - before
        self._sha, self._pack = plain(manifest=b"[on]\npush = []\n")
        self._pushed = 0
        self._push()

    def _refs(self) -> None:
        answer = self._client.get("/info/refs?service=git-receive-pack")
        assert answer.status_code == 200, answer.text

    def _push(self) -> None:
        self._pushed += 1
        body = request(self._sha, self._pack, f"refs/heads/b{self._pushed}")
        kind = {"Content-Type": "application/x-git-receive-pack-request"}
        answer = self._client.post("/git-receive-pack", content=body, headers=kind)
        assert f"ok refs/heads/b{self._pushed}\n".encode() in answer.content, answer.content

    def close(self) -> None:
        """No more questions."""
        self._client.close()

    @contextmanager
    def is_served(self) -> Iterator[None]:
        """Inside the block every answer comes soon."""
        waits: list[float] = []
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(0.1):
                for ask in (self._refs, self._push):
                    began = time.monotonic()
                    ask()
                    waits.append(time.monotonic() - began)

        with ThreadPoolExecutor(1) as threads:
            working = threads.submit(work)
            try:
                yield
            finally:
                ended.set()
            working.result()
        assert max(waits, default=0) < MAX_WAIT_S, f"another user waited {max(waits):.1f} s"
