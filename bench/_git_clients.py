"""The clients of bench.git: the real git, timed from its start to its end, and what it did is checked."""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench import _git_loads as loads
from bench._git_sides import Side, git
from bench._git_stages import Moments, read_trace

_LOOK_EVERY_S = 0.01


def _timed(side: Side, *words: str, cwd: Path, more: dict[str, str] | None = None) -> tuple[float, float]:
    """When a git that must not fail began and ended (Unix seconds)."""
    began = time.time()
    done = subprocess.run(
        ["git", *words], cwd=cwd, env=side.env | (more or {}), capture_output=True, check=False
    )
    ended = time.time()
    assert done.returncode == 0, f"{side.name}: git {' '.join(words)}: {done.stderr.decode(errors='replace')}"
    return began, ended


def _push(side: Side, repo: str, folder: Path, more: dict[str, str] | None = None) -> tuple[float, float]:
    return _timed(side, "push", "-q", side.url(repo), "HEAD:refs/heads/main", cwd=folder, more=more)


def _check(side: Side, repo: str, folder: Path) -> None:
    tip, sha = side.tip(repo), git("rev-parse", "HEAD", cwd=folder)
    assert tip == sha, f"{side.name}: {repo} is at {tip}, pushed was {sha}"


def push(side: Side, repo: str, folder: Path) -> float:
    """Seconds of `git push` of HEAD to main, which must be there afterwards."""
    began, ended = _push(side, repo, folder)
    _check(side, repo, folder)
    return ended - began


def traced_push(side: Side, repo: str, folder: Path) -> Moments:
    """When what of a push happened."""
    trace = folder.with_name(f"trace-{side.name}")
    trace.unlink(missing_ok=True)
    more = {"GIT_TRACE_CURL": str(trace), "GIT_TRACE_CURL_NO_DATA": "1"}
    return read_trace(trace, *_push(side, repo, folder, more))


def clone(side: Side, repo: str, into: Path) -> float:
    """Seconds of a `git clone` without a checkout; the clone is checked and removed."""
    try:
        words = ("clone", "-q", "--no-checkout", side.url(repo), str(into))
        began, ended = _timed(side, *words, cwd=into.parent)
        assert git("rev-parse", "HEAD", cwd=into) == side.tip(repo)
        return ended - began
    finally:
        shutil.rmtree(into, ignore_errors=True)


class Crowd:
    """Many clients, each with a repository of its own on each server."""

    def __init__(self, pattern: Path, size: int) -> None:
        self._folders = [pattern.with_name(f"crowd-{number}") for number in range(size)]
        self._changes = 0
        for folder in self._folders:
            shutil.copytree(pattern, folder, symlinks=True)

    def settle(self, side: Side) -> None:
        """The first push of each."""
        for folder in self._folders:
            side.fresh(folder.name)
        self.push(side)

    def change(self) -> None:
        """A new commit of each."""
        self._changes += 1
        for folder in self._folders:
            loads.change(folder, self._changes)

    def push(self, side: Side) -> tuple[float, float]:
        """All at once: seconds until the last has ended, and of the longest. What came of each is checked."""
        with ThreadPoolExecutor(len(self._folders)) as threads:
            times = list(threads.map(lambda folder: _push(side, folder.name, folder), self._folders))
        for folder in self._folders:
            _check(side, folder.name, folder)
        began, ended = zip(*times, strict=True)
        return max(ended) - min(began), max(end - begin for begin, end in times)


@contextmanager
def healthz(side: Side) -> Iterator[list[float]]:
    """Asks `GET /healthz` again and again while the block lasts; the list has the seconds of each answer."""
    assert side.service is not None
    seconds: list[float] = []
    done = threading.Event()

    def ask(url: str) -> None:
        with httpx.Client(timeout=60) as client:
            while not done.wait(_LOOK_EVERY_S):
                began = time.monotonic()
                assert client.get(f"{url}/healthz").status_code == 200
                seconds.append(time.monotonic() - began)

    thread = threading.Thread(target=ask, args=(side.service.url,), daemon=True)
    thread.start()
    try:
        yield seconds
    finally:
        done.set()
        thread.join()
