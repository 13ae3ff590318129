"""Many people at once: pushes that start together, requests of no client, and what is true afterwards."""

import base64
import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from dulwich.protocol import pkt_line

from gitserver.maintenance import maintain
from hermes.git import GitLimits
from tests.oracle import QUIET, Side
from tests.service import PATIENCE_S, TRUST, Service, WorkTree, wait_for

#: An instance where nothing is built and everybody may push at once.
CROWDED = {
    "HERMES_EXECUTOR": "local",
    "HERMES_REDIS_URL": "none",
    "HERMES_SSH_PORT": "0",
    "HERMES_POLL": "1s",
    "HERMES_PUSH_RATE": "100000",
    "HERMES_GIT_SLOTS": "256",
}
ZEROS = "0" * 40
_WAIT = """#!/bin/sh
cat >/dev/null
: >"{gate}/$$.ready"
until [ -e "{gate}/go" ]; do sleep 0.05; done
"""


@contextmanager
def crowded(data: Path, **more: str) -> Iterator[Service]:
    """A service of this kind, up."""
    one = Service(data, CROWDED | more)
    one.token = one.add_user(one.user)
    try:
        yield one.start()
    finally:
        code = one.stop()
    assert code == 0, one.log[-3000:]
    assert "Traceback" not in one.log, one.log[one.log.index("Traceback") - 500 :][:4000]


def history(folder: Path) -> WorkTree:
    """A repository whose pushes start nothing."""
    folder.mkdir(parents=True)
    tree = WorkTree(folder)
    tree.git("init", "-q", "-b", "main")
    tree.git("config", "gc.auto", "0")
    tree.write(dict(QUIET)).commit("base")
    return tree


def children(tree: WorkTree, count: int, parent: str = "HEAD", size: int = 0) -> list[str]:
    """So many different commits on top of one; `size` bytes of noise in each."""
    made, files = [], "HEAD^{tree}"
    for number in range(count):
        if size:
            (tree.folder / "noise").write_bytes(os.urandom(size))
            tree.git("add", "noise")
            files = tree.git("write-tree")
        made.append(tree.git("commit-tree", "-p", parent, "-m", f"{number} of {os.urandom(4).hex()}", files))
    return made


@dataclass
class Racer:
    """One `git push` that goes on, or has ended."""

    sha: str
    ref: str
    process: "subprocess.Popen[str]"
    output: str = ""

    @property
    def won(self) -> bool:
        """Whether the client was told that its ref moved."""
        return self.process.returncode == 0

    @property
    def lost_cleanly(self) -> bool:
        """Whether the client was told that its ref did not move."""
        words = " ! [rejected] ", " ! [remote rejected] "
        return self.process.returncode == 1 and any(each in self.output for each in words)

    def end(self) -> "Racer":
        """Wait for it."""
        _, self.output = self.process.communicate(timeout=120)
        return self

    def kill(self) -> None:
        """With everything that it has started, without a word."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def begin(service: Service, tree: WorkTree, repo: str, spec: str, hooks: Path | None = None) -> Racer:
    """Start `git push URL spec`, for example `SHA:refs/heads/main` or `:refs/heads/old`. A repository of
    somebody else is `owner/name:token`."""
    repo, _, token = repo.partition(":")
    owner = repo.partition("/")[0] if "/" in repo else ""
    (git, *rest), env = service.push_command(repo, refs=(spec,), user=owner, token=token or None)
    config = ["-c", f"core.hooksPath={hooks}"] if hooks else []
    process = subprocess.Popen(
        [git, *config, *rest], cwd=tree.folder, env=env, text=True, errors="replace", start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    sha, _, ref = spec.removeprefix("+").partition(":")
    return Racer(sha, ref, process)


def race(service: Service, tree: WorkTree, repo: str, shas: list[str], gate: Path) -> list[Racer]:
    """All push to main. Nobody sends anything before everybody has heard what the server has."""
    gate.mkdir()
    hook = gate / "pre-push"
    hook.write_text(_WAIT.format(gate=gate))
    hook.chmod(0o755)
    racers = [begin(service, tree, repo, f"{sha}:refs/heads/main", gate) for sha in shas]
    wait_for(lambda: len(list(gate.glob("*.ready"))) == len(racers))
    (gate / "go").touch()
    return [racer.end() for racer in racers]


def post_at_once(service: Service, repo: str, bodies: list[bytes]) -> list[httpx.Response]:
    """Requests to receive-pack, each on a connection of its own."""
    basic = base64.b64encode(f"{service.user}:{service.token}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-git-receive-pack-request"}
    url = f"{service.url}/{service.user}/{repo}.git/git-receive-pack"

    def post(body: bytes) -> httpx.Response:
        return httpx.post(url, content=body, headers=headers, timeout=PATIENCE_S, verify=TRUST)

    with ThreadPoolExecutor(len(bodies)) as threads:
        return list(threads.map(post, bodies))


def body(tree: WorkTree, old: str, new: str, ref: str = "refs/heads/main") -> bytes:
    """A push as a request: whatever the client believes, it says `old`."""
    head = pkt_line(f"{old} {new} {ref}\0report-status delete-refs agent=test\n".encode()) + b"0000"
    if new == ZEROS:
        return head
    command = ["git", "pack-objects", "--revs", "--stdout", "-q"]
    return (
        head
        + subprocess.run(
            command, cwd=tree.folder, input=f"{new}\n".encode(), capture_output=True, check=True
        ).stdout
    )


def table(service: Service, repo: str) -> list[tuple[str, str, str]]:
    """The push table: (ref, new sha, state) of a repository, oldest first."""
    joined = "push JOIN repo ON repo.id = repo_id WHERE name = ?"
    query = f"SELECT ref, new_sha, push.state FROM {joined} ORDER BY push.id"
    with closing(sqlite3.connect(service.data / "hermes.db", timeout=PATIENCE_S)) as database:
        return [(str(ref), str(sha), str(state)) for ref, sha, state in database.execute(query, (repo,))]


def applied(service: Service, repo: str) -> set[str]:
    """The commits whose pushes the database has as applied."""
    return {sha for _, sha, state in table(service, repo) if state == "applied"}


def let_a_minute_pass(service: Service) -> None:
    """For pushes that nobody has seen the end of: what is older than that is looked at again."""
    with closing(sqlite3.connect(service.data / "hermes.db", timeout=PATIENCE_S)) as database, database:
        database.execute("UPDATE push SET created_at = created_at - 61 WHERE state = 'received'")


def reaches(side: Side, repo: str, ref: str, sha: str) -> bool:
    """Whether the server's ref has the commit."""
    words = ["git", "merge-base", "--is-ancestor", sha, ref]
    return subprocess.run(words, cwd=side.bare(repo), capture_output=True, check=False).returncode == 0


def make_old(path: Path, days: float = 2.0) -> None:
    """As if it had been left alone for so long."""
    then = path.stat().st_mtime - days * 86400
    os.utime(path, (then, then))


@dataclass
class Upkeep:
    """Maintains one repository again and again, now and then from the ground up, while the block lasts."""

    bare: Path
    ok: list[bool] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def once(self, *, full: bool) -> bool:
        """Whether it went well."""
        if full:
            (self.bare / "hermes-repacked").unlink(missing_ok=True)
        return maintain(self.bare, GitLimits())

    def _go_on(self) -> None:
        while not self._stop.is_set():
            self.ok.append(self.once(full=len(self.ok) % 2 == 0))

    def __enter__(self) -> "Upkeep":
        self._thread = threading.Thread(target=self._go_on)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
