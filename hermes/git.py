"""Git's own programs as limited children: no configuration of the host, no terminal, bounded memory and time.

Names that users choose never become arguments: only object ids, and refs that `names.check_branch` passed.
"""

import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from hermes.errors import Unavailable

_LIMITS = ("prlimit", "--as=8589934592", "--cpu=600", "--core=0", "--")
_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_COUNT": "1",  # the data directory may belong to another user than the process
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


def git_command(repo: Path, *args: str) -> list[str]:
    """The argument vector of a limited git on a bare repository."""
    return [*_LIMITS, "git", f"--git-dir={repo}", *args]


def git_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a git child."""
    return {**_ENV, **(extra or {})}


def quarantine_env(repo: Path, quarantine: Path | None) -> dict[str, str]:
    """Lets git also see objects that were received and not accepted yet."""
    if quarantine is None:
        return git_env()
    return git_env(
        {
            "GIT_OBJECT_DIRECTORY": str(quarantine),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(repo / "objects"),
        }
    )


def run_git(repo: Path, *args: str, timeout_s: float = 60.0) -> bytes:
    """What git prints. Raises Unavailable with git's last words when it fails."""
    try:
        done = subprocess.run(
            git_command(repo, *args), env=git_env(), capture_output=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"git {args[0]}: {error}") from error
    if done.returncode != 0:
        raise Unavailable(f"git {args[0]} failed: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return done.stdout


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
