"""A whole Hermes in a temporary directory, and the verbs that people use on it: push, wait_for, read_log."""

import base64
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from hermes.samples import FOLDER
from hermes.states import LIVE, State
from tests.forked import Forked, operate
from tests.redis_faults import VARIABLE, plague_redis

T = TypeVar("T")
GIT_ENV = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}
#: For what comes in the end: enough for a machine that is four times slower. No claim is made by it.
PATIENCE_S = 120.0
#: For who asks: httpx would read all certificates of the world anew for each client, 18 ms of a core, and who
#: waits asks twenty times a second.
TRUST = ssl.create_default_context()
BUSY = {State.QUEUED, *LIVE}


#: Below those that the system gives to outgoing connections, which could take one before it is listened on.
_PORTS = range(15_000, 32_000)
_taken_ports: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on now, and that nobody else gets: who has it may listen late, or again.
    Processes that test at the same time (pytest-xdist) have a share of the ports each."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = max(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), number + 1)
    while True:
        port = random.SystemRandom().choice(_PORTS[number::count])
        if port in _taken_ports:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _taken_ports.add(port)
        return port


def wait_for(ask: Callable[[], T | None], timeout_s: float = PATIENCE_S) -> T:
    """The first answer that is true. Fails when there is none in time. Who has waited for long asks less
    often: others need the machine meanwhile."""
    began, pause_s = time.monotonic(), 0.05
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < began + timeout_s, f"still {answer!r} after {timeout_s} s"
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, 0.5)


@dataclass
class WorkTree:
    """A user's repository."""

    folder: Path

    def git(self, *args: str, check: bool = True) -> str:
        """What git prints."""
        done = subprocess.run(
            ["git", *args],
            cwd=self.folder,
            env=os.environ | GIT_ENV,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, files: dict[str, str | bytes]) -> "WorkTree":
        """Put files there."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def commit(self, message: str = "work") -> str:
        """Commit everything; returns the sha."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


@dataclass
class Pushed:
    """What came of `git push`."""

    code: int
    output: str  # what the user saw, `remote: ` and padding taken off
    sha: str
    owner: str
    repo: str
    tree: WorkTree
    seconds: float = 0.0

    @property
    def lines(self) -> list[str]:
        """The output by lines."""
        return self.output.splitlines()


def remote_words(text: str) -> str:
    """Git's stderr without the `remote: ` that it puts in front and the blanks behind."""
    return "\n".join(line.removeprefix("remote: ").rstrip() for line in text.splitlines())


@dataclass
class Service:
    """One running instance."""

    data: Path
    env: dict[str, str]
    port: int = field(default_factory=free_port)
    ssh_port: int = 0
    user: str = "alice"
    token: str = ""
    process: "Forked | subprocess.Popen[bytes] | None" = None
    _count: int = 0
    _redis_is_well: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        while self.ssh_port in (0, self.port):
            self.ssh_port = free_port()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the service itself said."""
        return (self.data / "service.log").read_text(errors="replace")

    def environment(self) -> dict[str, str]:
        """Of every process of this instance."""
        own = {k: v for k, v in os.environ.items() if not k.startswith("HERMES_")}
        return own | {
            "HERMES_DATA": str(self.data),
            "HERMES_PORT": str(self.port),
            "HERMES_SSH_PORT": str(self.ssh_port),
            "HERMES_STOP": "end",  # tests leave nothing behind
            **self.env,
        }

    def start(self, *, executed: bool = False) -> "Service":
        """Start `hermes up` and wait until a push would run. `executed`: as a person does, by its name; as is
        whom the loader of programs must hear (`LD_…`)."""
        self.data.mkdir(parents=True, exist_ok=True)
        path = self.data / "service.log"
        if executed or any(name.startswith("LD_") for name in self.env):
            with path.open("ab") as log:
                command = [sys.executable, "-m", "hermes", "up"]
                self.process = subprocess.Popen(command, env=self.environment(), stdout=log, stderr=log)
        else:
            self.process = Forked(("up",), self.environment(), path, path)
        if os.environ.get(VARIABLE) == "faulty":
            self._redis_is_well.clear()
            plague_redis(self.data, self._redis_is_well)
        try:
            wait_for(self._is_up)
        except BaseException:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
            raise
        return self

    def answers(self) -> bool:
        """Whether its web process serves."""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5, verify=TRUST).status_code == 200
        except httpx.TransportError:
            return False

    def _is_up(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log[-3000:]
        try:
            answer = httpx.get(f"{self.url}/healthz", timeout=5, verify=TRUST)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and bool(answer.json()["runner"])

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self._redis_is_well.set()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    @property
    def was_killed(self) -> bool:
        """Whether a process of it did not end by itself when it was told to; `hermes up` waits 17 s."""
        return "sending SIGKILL" in self.log.rpartition("SIGTERM received")[2]

    def hermes(self, *args: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """The command line."""
        done = subprocess.run(
            [sys.executable, "-m", "hermes", *args],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def admin(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """What its operator types: `hermes admin` with these words."""
        done = operate(words, self.environment(), PATIENCE_S)
        assert not check or done.returncode == 0, done.stderr
        return done

    def add_user(self, name: str) -> str:
        """Make an account; returns its token."""
        return self.admin("user", "add", name).stdout.strip()

    def client(self, token: str | None = None) -> httpx.Client:
        """An HTTP client with a bearer token (`""`: without)."""
        token = self.token if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S, verify=TRUST)

    def api(self, path: str) -> dict[str, Any]:
        """The JSON at `/api/v1` + path."""
        with self.client() as client:
            answer = client.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def worktree(self, files: str | dict[str, str | bytes], name: str | None = None) -> WorkTree:
        """A fresh repository with one commit: a sample by its name, or files."""
        self._count += 1
        folder = self.data / "worktrees" / f"{name or 'repo'}-{self._count}"
        if isinstance(files, str):
            shutil.copytree(FOLDER / files, folder, ignore=shutil.ignore_patterns("expect.toml"))
        folder.mkdir(parents=True, exist_ok=True)
        tree = WorkTree(folder)
        tree.git("init", "-q", "-b", "main")
        if isinstance(files, dict):
            tree.write(files)
        tree.commit(f"first of {name or 'it'}")
        return tree

    def push_command(
        self,
        repo: str,
        *options: str,
        refs: tuple[str, ...] = ("HEAD:main",),
        token: str | None = None,
        user: str = "",
    ) -> tuple[list[str], dict[str, str]]:
        """The argument vector and environment of a `git push`."""
        user = user or self.user
        basic = base64.b64encode(f"{user}:{self.token if token is None else token}".encode()).decode()
        env = (
            os.environ
            | GIT_ENV
            | {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "http.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
            }
        )
        words = [word for option in options for word in ("-o", option)]
        remote = repo if "/" in repo else f"{self.user}/{repo}"
        return ["git", "push", *words, f"{self.url}/{remote}.git", *refs], env

    def push(
        self,
        files: str | dict[str, str | bytes] | WorkTree,
        *options: str,
        repo: str = "",
        refs: tuple[str, ...] = ("HEAD:main",),
        token: str | None = None,
        user: str = "",
    ) -> Pushed:
        """`git push`, to its end. Without `repo` each call has a repository of its own."""
        self._count += 1
        repo = repo or f"{files if isinstance(files, str) else 'repo'}-{self._count}"
        tree = files if isinstance(files, WorkTree) else self.worktree(files, repo.rpartition("/")[2])
        command, env = self.push_command(repo, *options, refs=refs, token=token, user=user)
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=tree.folder,
            env=env,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=280,
        )
        owner, _, name = repo.rpartition("/")
        return Pushed(
            code=done.returncode,
            output=remote_words(done.stderr),
            sha=tree.git("rev-parse", "HEAD"),
            owner=owner or self.user,
            repo=name,
            tree=tree,
            seconds=time.monotonic() - began,
        )

    def commit_page(self, pushed: Pushed) -> dict[str, Any]:
        """What the API says of the pushed commit, now."""
        return self.api(f"/repos/{pushed.owner}/{pushed.repo}/commits/{pushed.sha}")

    def settled(self, pushed: Pushed, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """What the API says of the pushed commit when nothing of it goes on any more."""
        return wait_for(lambda: self._settled(pushed), timeout_s)

    def _settled(self, pushed: Pushed) -> dict[str, Any] | None:
        page = self.commit_page(pushed)
        states = {each["state"] for each in (*page["builds"], *page["runs"])}
        return None if states & BUSY else page

    def run_of(self, pushed: Pushed, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """The newest run of a pushed commit, ended; of a push left half done it comes in a minute."""
        runs = wait_for(lambda: (page := self._settled(pushed)) and page["runs"], timeout_s)
        run: dict[str, Any] = runs[0]
        return run

    def read_log(self, kind: str, row_id: int) -> bytes:
        """The raw log of a run (`runs`) or a build (`builds`)."""
        with self.client() as client:
            answer = client.get(f"/{kind}/{row_id}/log")
        assert answer.status_code == 200, answer.text
        return answer.content


S = TypeVar("S", bound=Service)


@contextmanager
def living(one: S) -> Iterator[S]:
    """With its first user and started, until it ends as it should and without a fault in its log."""
    one.token = one.add_user(one.user)
    one.start()
    try:
        yield one
    finally:
        assert one.stop() == 0, one.log[-3000:]
    assert "Traceback" not in one.log, one.log[one.log.index("Traceback") - 500 :][:4000]
