"""Git's own programs as limited children: no configuration of the host, no terminal, bounded memory and time.

Names that users choose never become arguments: only object ids, and refs that `names.check_branch` passed.
"""

import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hermes.errors import Unavailable


@dataclass(frozen=True)
class GitLimits:
    """The bounds of one git program: address space and CPU time; `offline`: in a network namespace with
    nothing in it, where this process may make one."""

    memory_bytes: int = 2 << 30
    cpu_s: float = 600.0
    offline: bool = False

    def prefix(self) -> list[str]:
        """What to put before `git`."""
        fence = ["unshare", "--net", "--"] if self.offline and _can_unshare() else []
        return [*fence, "prlimit", f"--as={self.memory_bytes}", f"--cpu={int(self.cpu_s)}", "--core=0", "--"]


@cache
def _can_unshare() -> bool:
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return done.returncode == 0


_SMALL = GitLimits()
_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "MALLOC_ARENA_MAX": "2",  # arenas of many threads would fill the address space, not the memory
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "none",  # git itself fetches nothing from anywhere, whatever a repository says
    "GIT_CONFIG_COUNT": "1",  # the data directory may belong to another user than the process
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


def git_command(repo: Path, *args: str, limits: GitLimits = _SMALL) -> list[str]:
    """The argument vector of a limited git on a bare repository."""
    return [*limits.prefix(), "git", f"--git-dir={repo}", *args]


def git_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a git child."""
    return {**_ENV, **(extra or {})}


def quarantine_env(repo: Path, quarantine: Path | None, *, alone: bool = False) -> dict[str, str]:
    """Lets git also (`alone`: only) see objects that were received and not accepted yet."""
    if quarantine is None:
        return git_env()
    others = {} if alone else {"GIT_ALTERNATE_OBJECT_DIRECTORIES": str(repo / "objects")}
    return git_env({"GIT_OBJECT_DIRECTORY": str(quarantine)} | others)


def run_git(repo: Path, *args: str, timeout_s: float = 60.0, quarantine: Path | None = None) -> bytes:
    """What git prints. Raises Unavailable with git's last words when it fails."""
    try:
        done = subprocess.run(
            git_command(repo, *args),
            env=quarantine_env(repo, quarantine),
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"git {args[0]}: {error}") from error
    if done.returncode != 0:
        raise Unavailable(f"git {args[0]} failed: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return done.stdout


@contextmanager
def git_child(
    repo: Path, quarantine: Path | None, *args: str, alone: bool = False
) -> Iterator["subprocess.Popen[bytes]"]:
    """A child with open pipes that is gone when the block ends. Raises Unavailable with git's last words
    when git fails."""
    with subprocess.Popen(
        git_command(repo, *args),
        env=quarantine_env(repo, quarantine, alone=alone),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        try:
            yield child
        except BaseException:
            child.kill()
            raise
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        child.stdin.close()
        child.stdout.close()
        words = child.stderr.read(4096).decode(errors="replace").strip()
        if child.wait(60) not in (0, -13):  # -13: we stopped reading
            raise Unavailable(f"git {args[0]} failed: {words[-500:]}")


def init_bare(repo: Path) -> None:
    """Make an empty bare repository, with nothing in it that a push could run. It appears whole: two first
    pushes may race each other here."""
    repo.parent.mkdir(parents=True, exist_ok=True)
    fresh = repo.with_suffix(f".{secrets.token_hex(4)}")
    command = ["git", "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(fresh)]
    done = subprocess.run(command, env=git_env(), capture_output=True, timeout=30, check=False)
    if done.returncode != 0:
        raise Unavailable(f"git init failed: {done.stderr.decode(errors='replace').strip()[-500:]}")
    try:
        fresh.rename(repo)
    except OSError:  # the other one was faster
        shutil.rmtree(fresh, ignore_errors=True)


def set_head(repo: Path, branch: str) -> None:
    """The branch that a clone checks out. Raises Unavailable."""
    run_git(repo, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
