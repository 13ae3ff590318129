"""Keeps repositories quick: packs are joined, refs packed, the commit graph written, leftovers swept.

When nobody pushes or fetches and a repository has been left alone for a while; one at a time, at the lowest
priority, within git's limits. Nothing here takes a lock that a push waits for longer than git itself does
(core.packedRefsTimeout), and a fault is a line in the log: the repository stays as it was.

Nothing that was ever pushed is pruned: what a branch leaves behind is kept by a ref of ours
(branches.py). What is thrown away after a day is what pushes that died have left."""

import asyncio
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gitserver.child import Git
from hermes.git import GitLimits, git_command, git_env
from hermes.journal import log
from hermes.process import Context
from hermes.threads import in_thread

_STAMP, _FULL = "hermes-maintained", "hermes-repacked"  # files whose times say when
_MANY_PACKS = 50  # too many to wait for a quiet time: each makes every look-up slower
_FULL_AFTER_S = 7 * 86400.0
_LEFT_AFTER_S = 86400.0
_STEP_S = 3600.0
_QUIETLY = ("nice", "-n", "19", "ionice", "-c", "3")
_CONFIG = {
    "core.fsync": "all",
    "core.bigFileThreshold": "16m",
    "pack.threads": "1",
    "pack.windowMemory": "256m",
}


@dataclass(frozen=True)
class State:
    """How a repository's object store looks."""

    packs: int
    changed_at: float
    maintained_at: float
    repacked_at: float

    def is_due(self, now: float, quiet_s: float) -> bool:
        """Whether something is to be gained, and now."""
        if self.changed_at <= self.maintained_at:
            return False
        return self.packs >= _MANY_PACKS or now - self.changed_at > quiet_s


def look(repo: Path) -> State:
    """From the file system alone."""
    folder = repo / "objects" / "pack"
    packs = sum(1 for path in folder.glob("*.pack"))
    return State(packs, _time_of(folder), _time_of(repo / _STAMP), _time_of(repo / _FULL))


def _time_of(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


async def keep_maintaining(context: Context, git: Git) -> None:
    """For ever; a repository that is due at a time."""
    quiet_s = context.settings.maintenance
    while True:
        await asyncio.sleep(min(quiet_s, 60.0))
        for repo in await in_thread(_due, context.paths.root / "repos", quiet_s):
            while git.at_work:
                await asyncio.sleep(1.0)
            await in_thread(maintain, repo, GitLimits(context.settings.git_memory, context.settings.git_time))


def _due(repos: Path, quiet_s: float) -> list[Path]:
    """The repositories that are due, those with the most packs first."""
    now = time.time()
    states = {repo: look(repo) for repo in repos.glob("*.git")}
    due = [repo for repo, state in states.items() if state.is_due(now, quiet_s)]
    return sorted(due, key=lambda repo: -states[repo].packs)


def maintain(repo: Path, limits: GitLimits) -> bool:
    """All steps for one repository; False when one of them failed, which was logged."""
    began, before = time.monotonic(), look(repo)
    full = time.time() - before.repacked_at > _FULL_AFTER_S
    _sweep(repo)
    steps = [["pack-refs", "--all"], _repack(full), ["commit-graph", "write", "--reachable", "--split"]]
    ok = all(_step(repo, limits, step) for step in steps)
    for name in (_STAMP, *((_FULL,) if full and ok else ())):  # failed or not: again after the next push
        (repo / name).touch()
    seconds, left = round(time.monotonic() - began, 2), look(repo).packs
    log.info("repository maintained", repo=repo.name, packs=before.packs, left=left, seconds=seconds)
    return ok


def _repack(full: bool) -> list[str]:
    """Mostly only the small packs are joined; now and then everything, and old leftovers go."""
    if full:
        return ["repack", "-d", "-l", "-q", "--cruft", "--cruft-expiration=1.day.ago"]
    return ["repack", "-d", "-l", "-q", "--geometric=2", "--write-midx"]


def _step(repo: Path, limits: GitLimits, step: list[str]) -> bool:
    flags = [word for key, value in _CONFIG.items() for word in ("-c", f"{key}={value}")]
    command = [*_QUIETLY, *git_command(repo, *flags, *step, limits=limits)]
    try:
        done = subprocess.run(command, env=git_env(), capture_output=True, timeout=_STEP_S, check=False)
        words = done.stderr.decode(errors="replace").strip()[-300:] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        words = str(error)
    if words:
        log.warning("maintenance failed", repo=repo.name, step=step[0], error=words)
    return not words


def _sweep(repo: Path) -> None:
    """Quarantines and half-written packs of pushes that were killed long ago."""
    old = time.time() - _LEFT_AFTER_S
    objects = repo / "objects"
    for path in (*objects.glob("*incoming-*"), *objects.glob("pack/tmp_*"), *objects.glob("tmp_*")):
        if _time_of(path) < old:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
