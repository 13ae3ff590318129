"""The two servers of bench.git: Hermes, and git's own `http-backend` behind the same HTTP stack."""

import base64
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench._tools import say
from tests.leftovers import the_process
from tests.service import GIT_ENV, Service, free_port, wait_for

#: What decides about time is the same for both, as gitserver/child.py has it. With git's own defaults a
#: 200 MB file takes it several times as long, and a small push leaves an fsync for each object.
_RIVAL = {
    "core.bigFileThreshold": "16m",
    "receive.autogc": "false",
    "receive.fsck.badTimezone": "ignore",
    "receive.fsck.missingSpaceBeforeDate": "ignore",
    "receive.fsck.zeroPaddedFilemode": "ignore",
    "receive.unpackLimit": "1",
}
#: Ours: nothing runs, and a script pushes more often than a person may.
_INSTANCE = {"HERMES_EXECUTOR": "local", "HERMES_PUSH_RATE": "100000"}
#: The client does as little as it can, so that what is compared is not drowned in it.
_CLIENT = {"core.bigFileThreshold": "16m", "core.fsync": "none", "gc.auto": "0", "maintenance.auto": "false"}
_PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C"}


def client_env(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a client's git, with more configuration."""
    config = _CLIENT | (extra or {})
    env = _PATH | GIT_ENV | {"GIT_CONFIG_COUNT": str(len(config))}
    for number, (key, value) in enumerate(config.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return env


def git(*words: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """What a git that must not fail prints."""
    done = subprocess.run(
        ["git", *words], cwd=cwd, env=env or client_env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Side:
    """A server: the process `pid`, what lets a client in, where its repositories lie."""

    name: str
    base: str
    pid: int
    folder: Path
    env: dict[str, str] = field(default_factory=client_env)
    service: Service | None = None  # None: git's own

    def url(self, repo: str) -> str:
        """Where a client finds it."""
        return f"{self.base}/{repo}.git"

    def fresh(self, repo: str) -> None:
        """A repository that nothing was pushed to; ours are made by their first push."""
        if self.service is None:
            bare = self.folder / f"{repo}.git"
            git("init", "-q", "--bare", "--template=", "--initial-branch=main", str(bare), cwd=self.folder)
            for key, value in _RIVAL.items():
                git("config", key, value, cwd=bare)

    def bare(self, repo: str) -> Path:
        """Where a repository lies."""
        if self.service is None:
            return self.folder / f"{repo}.git"
        with closing(sqlite3.connect(f"file:{self.folder}/hermes.db?mode=ro", uri=True)) as rows:
            found = rows.execute("SELECT id FROM repo WHERE name = ?", (repo,)).fetchone()
        return self.folder / "repos" / f"{found[0]}.git"

    def tip(self, repo: str) -> str:
        """The commit that `main` is at, looked at behind the server's back."""
        return git("rev-parse", "refs/heads/main", cwd=self.bare(repo))


@contextmanager
def ours(folder: Path) -> Iterator[Side]:
    """A fresh Hermes with one user, and the local executor that does nothing."""
    service = Service(folder / "hermes", _INSTANCE)
    say(f"starting hermes up in {service.data}")
    try:
        service.start(executed=True)
        service.token = service.add_user(service.user)
        basic = base64.b64encode(f"{service.user}:{service.token}".encode()).decode()
        env = client_env({"http.extraHeader": f"Authorization: Basic {basic}"})
        pid = the_process(service, "hermes web")
        yield Side("hermes", f"{service.url}/{service.user}", pid, service.data, env, service)
    finally:
        if service.process is not None and service.process.poll() is None:
            service.stop()


@contextmanager
def gits_own(folder: Path) -> Iterator[Side]:
    """`git http-backend` on a free port."""
    root, port = folder / "git", free_port()
    root.mkdir(parents=True)
    command = [sys.executable, "-m", "bench.http_backend", str(root), str(port)]
    with subprocess.Popen(command, cwd=Path(__file__).parent.parent, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: _answers(port))
            yield Side("git", f"http://127.0.0.1:{port}", process.pid, root)
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=5).status_code == 404
    except httpx.TransportError:
        return False
