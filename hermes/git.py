"""Git's own programs as limited children: no configuration of the host, no terminal, bounded memory and time.

Names that users choose never become arguments: only object ids, and refs that `names.check_branch` passed.
"""

import os
import resource
import secrets
import select
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hermes.disk import sync
from hermes.errors import Unavailable


@dataclass(frozen=True)
class GitLimits:
    """The bounds of one git program: address space and CPU time; `niceness`: how far it stands back."""

    memory_bytes: int = 1 << 30
    cpu_s: float = 600.0
    niceness: int = 0

    def hold(self, pid: int) -> None:
        """Bound a child that was just started; what it starts inherits it. From outside, because a program
        that sets limits and then becomes git costs a millisecond for each child."""
        cpu_s = int(self.cpu_s)
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_AS, (self.memory_bytes, self.memory_bytes))
            resource.prlimit(pid, resource.RLIMIT_CPU, (cpu_s, cpu_s))
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
            if self.niceness:
                os.setpriority(os.PRIO_PROCESS, pid, self.niceness)


_SMALL = GitLimits()
_PIPE_BYTES = 1 << 17  # of what a child answers in one piece
_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "MALLOC_ARENA_MAX": "2",  # arenas of many threads would fill the address space, not the memory
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "none",  # git itself fetches nothing from anywhere, whatever a repository says
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "safe.directory",  # the data directory may belong to another user than the process
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "core.fsync",  # refs too, also those that we write ourselves
    "GIT_CONFIG_VALUE_1": "all",
}


def git_command(repo: Path, *args: str) -> list[str]:
    """The argument vector of git on a bare repository."""
    return ["git", f"--git-dir={repo}", *args]


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


def run_git(repo: Path, *args: str, timeout_s: float = 60.0, quarantine: Path | None = None) -> bytes:
    """What git prints. Raises Unavailable with git's last words when it fails."""
    env = quarantine_env(repo, quarantine)
    code, output, words = run_bounded(git_command(repo, *args), env, _SMALL, timeout_s)
    if code != 0:
        raise Unavailable(f"git {args[0]} failed: {words}")
    return output


def run_bounded(
    command: list[str], env: dict[str, str], limits: GitLimits, timeout_s: float
) -> tuple[int, bytes, str]:
    """Exit code, output and last words of a git child. Raises Unavailable when it takes too long."""
    try:
        with subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            limits.hold(child.pid)
            try:
                output, words = child.communicate(timeout=timeout_s)
            except BaseException:
                child.kill()
                raise
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"git: {error}") from error
    return child.returncode, output, words.decode(errors="replace").strip()[-500:]


@contextmanager
def git_child(repo: Path, quarantine: Path | None, *args: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A child with open pipes that is gone when the block ends. Raises Unavailable with git's last words
    when git fails."""
    with subprocess.Popen(
        git_command(repo, *args),
        env=quarantine_env(repo, quarantine),
        bufsize=_PIPE_BYTES,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        _SMALL.hold(child.pid)
        try:
            yield child
        except BaseException:
            child.kill()
            raise
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        child.stdin.close()
        child.stdout.close()
        words = child.stderr.read(4096).decode(errors="replace").strip()
        if _end_of(child, 60.0) not in (0, -13):  # -13: we stopped reading
            raise Unavailable(f"git {args[0]} failed: {words[-500:]}")


def _end_of(child: "subprocess.Popen[bytes]", timeout_s: float) -> int:
    """Its exit code. `Popen.wait` with a time-out sleeps for half a millisecond and more between looks; the
    kernel tells at once."""
    handle = os.pidfd_open(child.pid)
    try:
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        ended.poll(timeout_s * 1000)
    finally:
        os.close(handle)
    return child.wait(0)


def init_bare(repo: Path) -> None:
    """Make an empty bare repository, with nothing in it that a push could run. It appears whole: two first
    pushes may race each other here."""
    repo.parent.mkdir(parents=True, exist_ok=True)
    fresh = repo.with_suffix(f".{secrets.token_hex(4)}")
    command = ["git", "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(fresh)]
    done = subprocess.run(command, env=git_env(), capture_output=True, timeout=30, check=False)
    if done.returncode != 0:
        raise Unavailable(f"git init failed: {done.stderr.decode(errors='replace').strip()[-500:]}")
    sync([fresh, *fresh.rglob("*")])
    try:
        fresh.rename(repo)
    except OSError:  # the other one was faster
        shutil.rmtree(fresh, ignore_errors=True)
    sync([repo.parent, repo.parent.parent])


def set_head(repo: Path, branch: str) -> None:
    """The branch that a clone checks out. Raises Unavailable."""
    run_git(repo, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
    sync([repo / "HEAD", repo])


def sync_names(repo: Path, refs: Iterable[str]) -> None:
    """The names of new packs and of these refs are on disk. Git syncs its files and no folder: without this
    a power cut takes a ref back that has moved. Raises Unavailable."""
    folders = {repo / "objects" / "pack"}
    for ref in refs:  # up to refs/heads or refs/tags, which were synced when the repository was made
        parts = ref.split("/")
        if parts[1] not in ("heads", "tags"):
            folders.add(repo / "refs")
        folders |= {repo.joinpath(*parts[:depth]) for depth in range(2, len(parts))}
        if not (repo / ref).exists():  # it is gone, and packed-refs is perhaps a new file
            folders.add(repo)
    sync(folders)
