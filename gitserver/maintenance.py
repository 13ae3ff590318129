"""Keeps repositories quick: packs are joined, refs packed, the commit graph written, leftovers swept.

When nobody pushes or fetches and a repository has been left alone for a while; one at a time, at the lowest
priority, within git's limits. Nothing here takes a lock that a push waits for longer than git itself does
(core.packedRefsTimeout), and a fault is a line in the log: the repository stays as it was.

Nothing that was ever pushed is pruned: what a branch leaves behind is kept by a ref of ours
(branches.py). What is thrown away after a day is what pushes that died have left."""

import asyncio
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gitserver.child import Git
from hermes.errors import Unavailable
from hermes.git import GitLimits, git_command, git_env, run_bounded
from hermes.hold import may_remove
from hermes.journal import log
from hermes.paths import Paths
from hermes.process import Context
from hermes.threads import in_thread

_STAMP, _FULL = "hermes-maintained", "hermes-repacked"  # files whose times say when
_MANY_PACKS = 50  # too many to wait for a quiet time: each makes every look-up slower
_FULL_AFTER_S = 7 * 86400.0
_LEFT_AFTER_S = 86400.0
_LOCKED_S = 3600.0  # much longer than any git of ours holds a lock
_PATIENCE_S = 600  # how long an idle moment is waited for: one slow clone must not keep it off for ever
_STEP_S = 3600.0
_QUIETLY = ("nice", "-n", "19", "ionice", "-c", "3")
_CONFIG = {
    "core.fsync": "all",
    "core.bigFileThreshold": "16m",
    "pack.threads": "1",
    "pack.windowMemory": "256m",
    "core.packedGitLimit": "256m",
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
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


async def keep_maintaining(context: Context, git: Git) -> None:
    """For ever; a repository that is due at a time."""
    repos, quiet_s = context.paths.root / "repos", context.settings.maintenance
    limits = GitLimits(context.settings.git_memory, context.settings.git_time)
    started = time.time()
    await asyncio.sleep(min(quiet_s, 60.0))
    await in_thread(clear, repos, started)
    while True:
        for repo in await in_thread(_due, repos, quiet_s):
            for _ in range(_PATIENCE_S):
                if not git.at_work:
                    break
                await asyncio.sleep(1.0)
            await in_thread(_maintain_unless_held, context.paths, repo, limits)
        await asyncio.sleep(min(quiet_s, 60.0))


def _due(repos: Path, quiet_s: float) -> list[Path]:
    """The repositories that are due, those with the most packs first."""
    now = time.time()
    states = {repo: look(repo) for repo in repos.glob("*.git")}
    due = [repo for repo, state in states.items() if state.is_due(now, quiet_s)]
    return sorted(due, key=lambda repo: -states[repo].packs)


def _maintain_unless_held(paths: Paths, repo: Path, limits: GitLimits) -> None:
    """A backup copies packs: none may go meanwhile, and it is tried again in the next round."""
    try:
        with may_remove(paths) as may:
            if may:
                maintain(repo, limits)
    except OSError as error:  # the disk is full, or read-only
        log.warning("maintenance failed", repo=repo.name, step="hold", error=str(error))


def maintain(repo: Path, limits: GitLimits) -> bool:
    """All steps for one repository; False when one of them failed, which was logged."""
    began, before = time.monotonic(), look(repo)
    full = time.time() - before.repacked_at > _FULL_AFTER_S
    steps = [["pack-refs", "--all"], _repack(full), ["commit-graph", "write", "--reachable", "--split"]]
    try:
        _sweep(repo)
        ok = all(_step(repo, limits, step) for step in steps)
        for name in (_STAMP, *((_FULL,) if full and ok else ())):  # failed or not: again after the next push
            (repo / name).touch()
    except OSError as error:  # the repository is gone, or the disk is full
        log.warning("maintenance failed", repo=repo.name, step="files", error=str(error))
        return False
    if ok:
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
    command = [*_QUIETLY, *git_command(repo, *flags, *step)]
    try:
        code, _, words = run_bounded(command, git_env(), limits, _STEP_S)
    except Unavailable as error:
        code, words = 1, str(error)
    if code == 0:
        return True
    log.warning("maintenance failed", repo=repo.name, step=step[0], error=words[-300:])
    return False


def clear(repos: Path, started: float) -> None:
    """After a crash or a power cut: locks of programs that are gone would refuse every push of a branch, and
    git removes neither them nor the quarantines of pushes that died. What was there before this process, and
    still is, has no owner."""
    for path in repos.glob("*"):
        if path.suffix == ".git":
            _unlock(path, started)
            for quarantine in path.glob("objects/*incoming-*"):
                if _time_of(quarantine) < started:
                    _remove(quarantine)
        elif re.fullmatch(r"\d+\.[0-9a-f]{8}", path.name) and _time_of(path) < started:
            shutil.rmtree(path, ignore_errors=True)  # a repository that did not come to be (init_bare)


def _sweep(repo: Path) -> None:
    """Quarantines, half-written packs and marks of pushes that were killed long ago."""
    now, objects = time.time(), repo / "objects"
    marks = filter(_is_mark, objects.glob("pack/*.keep"))
    for path in (*objects.glob("*incoming-*"), *objects.glob("pack/tmp_*"), *objects.glob("tmp_*"), *marks):
        if _time_of(path) < now - _LEFT_AFTER_S:
            _remove(path)
    _unlock(repo, now - _LOCKED_S)


def _is_mark(path: Path) -> bool:
    """Whether a push has put it beside its new pack; an operator's own is left alone."""
    with suppress(OSError):
        return path.read_bytes().startswith(b"receive-pack ")
    return False


def _unlock(repo: Path, before: float) -> None:
    """Remove locks that are older."""
    for folder, _, names in os.walk(repo):  # it does not mind folders that vanish
        for path in (Path(folder, name) for name in names if name.endswith(".lock")):
            if 0 < _time_of(path) < before:  # 0: gone meanwhile; the next of this name is somebody's
                log.warning("lock left behind, removed", repo=repo.name, lock=str(path.relative_to(repo)))
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
