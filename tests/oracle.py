"""Two servers for one client: ours, and git's own behind HTTP. What git does is what ours must do.

A `Side` is a server, a `Client` somebody's repository whose `origin` is there; both sides start from the same
history, byte for byte, so that whatever an operation leaves can be compared."""

import base64
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.files import paths_below
from tests.service import GIT_ENV, TRUST, Service, free_port, wait_for

Done = subprocess.CompletedProcess[str]
#: A branch whose manifest says this is stored and starts nothing; so a push ends with git's own report.
QUIET = {"hermes.toml": "[on]\npush = []\n", "Makefile": "all:\n\t@true\n"}
_CLOCK = {"GIT_AUTHOR_DATE": "1750000000 +0200", "GIT_COMMITTER_DATE": "1750000000 +0200"}
_CLIENT = {"gc.auto": "0", "maintenance.auto": "false", "advice.detachedHead": "false", "core.fsync": "none"}
_ORIGIN = '[remote "origin"]\n\turl = {url}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
#: Git's own server with the choices that docs/git.md names, so that only behaviour is compared.
_SERVER = {
    "http.receivepack": "true",
    "receive.advertisePushOptions": "true",
    "receive.denyDeleteCurrent": "ignore",
    "receive.fsck.zeroPaddedFilemode": "ignore",
    "receive.fsck.missingSpaceBeforeDate": "ignore",
    "receive.fsck.badTimezone": "ignore",
    "receive.unpackLimit": "1",
    "receive.autogc": "false",
    "uploadpack.allowFilter": "true",
    "uploadpack.allowReachableSHA1InWant": "true",
}
#: Ours: nothing is built here, and scripts push faster and sign in worse than people.
_INSTANCE = {
    "HERMES_EXECUTOR": "local",
    "HERMES_REDIS_URL": "none",
    "HERMES_PUSH_RATE": "100000",
    "HERMES_LOGIN_FAILURES": "100000",
    "HERMES_SSH_PORT": "0",
}


def run(*words: str, cwd: Path, env: dict[str, str] | None = None, data: bytes = b"") -> Done:
    """A program to its end, whatever its end is."""
    done = subprocess.run(
        words, cwd=cwd, env=os.environ | GIT_ENV | _CLOCK | (env or {}), input=data, capture_output=True,
        check=False, timeout=120,
    )  # fmt: skip
    return Done(
        words, done.returncode, *(each.decode(errors="replace") for each in (done.stdout, done.stderr))
    )


def output(*words: str, cwd: Path, data: bytes = b"") -> str:
    """What a program that must not fail prints."""
    done = run(*words, cwd=cwd, data=data)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout.strip()


@dataclass
class Side:
    """A server. `service` None: git's own."""

    name: str
    base: str
    folder: Path
    service: Service | None = None
    env: dict[str, str] = field(default_factory=dict)  # what lets a client in
    _count: int = 0

    def fresh(self) -> str:
        """The name of a repository that nothing was pushed to."""
        self._count += 1
        name = f"repo-{self._count}"
        if self.service is None:
            shutil.copytree(self.folder / "template.git", self.bare(name))
        return name

    def url(self, repo: str) -> str:
        """Of a repository."""
        return f"{self.base}/{repo}.git"

    def bare(self, repo: str) -> Path:
        """Where a repository lies on disk."""
        if self.service is None:
            return self.folder / f"{repo}.git"
        with closing(sqlite3.connect(self.folder / "hermes.db")) as database:
            found = database.execute("SELECT id FROM repo WHERE name = ?", (repo,)).fetchone()
        assert found, f"no repository {repo}"
        return self.folder / "repos" / f"{found[0]}.git"

    def refs(self, repo: str) -> dict[str, str]:
        """What the server has, looked at behind its back; without our own marks on commits that have runs."""
        lines = output("git", "for-each-ref", "--format=%(refname) %(objectname)", cwd=self.bare(repo))
        return dict(line.split(" ") for line in lines.splitlines() if not line.startswith("refs/hermes/"))

    def has(self, repo: str, sha: str) -> bool:
        """Whether the server kept an object."""
        return run("git", "cat-file", "-e", sha, cwd=self.bare(repo)).returncode == 0

    def faults(self, repo: str) -> list[str]:
        """What `git fsck` does not like, and files of pushes that are over."""
        bare = self.bare(repo)
        done = run("git", "fsck", "--strict", "--full", "--no-dangling", "--no-progress", cwd=bare)
        said = [] if done.returncode == 0 else (done.stdout + done.stderr).splitlines()
        left = [path for path in paths_below(bare) if re.match(r"tmp_|incoming-|.*\.lock$", path.name)]
        return said + [str(path.relative_to(bare)) for path in left]


def refusals(done: Done) -> dict[str, str]:
    """From `git push --porcelain`: each ref that the server refused, and its words."""
    rows = [line.split("\t") for line in done.stdout.splitlines() if "[remote rejected]" in line]
    return {names.rpartition(":")[2]: re.sub(r"^\S+ \S+ \((.*)\)$", r"\1", words) for _, names, words in rows}


def ours(service: Service, user: str = "", token: str = "") -> Side:
    """Our own server; its user comes with a token from the start."""
    user, token = user or service.user, token or service.token
    basic = base64.b64encode(f"{user}:{token}".encode()).decode()
    env = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
    }
    return Side("hermes", f"{service.url}/{user}", service.data, service, env)


@contextmanager
def gits_own(folder: Path) -> Iterator[Side]:
    """`git http-backend` on a free port, for as long as the block lasts."""
    init = ("git", "init", "-q", "--bare", "--template=", "--initial-branch=main", "template.git")
    output(*init, cwd=folder)
    for key, value in _SERVER.items():
        output("git", "config", key, value, cwd=folder / "template.git")
    port = free_port()
    command = [sys.executable, "-m", "bench.http_backend", str(folder), str(port)]
    with subprocess.Popen(command, cwd=Path(__file__).parent.parent) as process:
        try:
            wait_for(lambda: _answers(port))
            yield Side("git", f"http://127.0.0.1:{port}", folder)
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=5, verify=TRUST).status_code == 404
    except httpx.TransportError:
        return False


@dataclass
class Client:
    """Somebody's repository; `origin` is a repository of one side."""

    folder: Path
    side: Side
    repo: str

    @property
    def url(self) -> str:
        """Of `origin`."""
        return self.side.url(self.repo)

    def git(self, *words: str, env: dict[str, str] | None = None, data: bytes = b"") -> Done:
        """Git here, whatever its end is."""
        return run("git", *words, cwd=self.folder, env=self.side.env | (env or {}), data=data)

    def do(self, *lines: str) -> str:
        """Git commands that must not fail, as one types them; what they print."""
        said = ""
        for line in lines:
            done = self.git(*shlex.split(line))
            assert done.returncode == 0, (self.side.name, line, done.stdout, done.stderr)
            said += done.stdout
        return said.strip()

    def plain(self, text: str) -> list[str]:
        """What a user reads, without the address, what we say on top, and figures that time decides."""
        same = text.replace(self.side.base, "…").replace(self.repo, "repo")
        lines = [line.rstrip() for line in re.split(r"[\n\r]", same)]
        return [line for line in lines if line and not re.match(r"remote: hermes  |.* \d+% ", line)]

    def write(self, name: str, content: str | bytes) -> None:
        """A file, not yet added."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, message: str = "more") -> str:
        """Everything here as a commit; its sha. Its words make it a different one, not the time."""
        self.do("add -A", f"commit -q --allow-empty -m {shlex.quote(message)}")
        return self.do("rev-parse HEAD")

    def make(self, kind: str, content: bytes) -> str:
        """An object as it is, sound or not; its sha."""
        return output(
            "git", "hash-object", "-w", "-t", kind, "--literally", "--stdin", cwd=self.folder, data=content
        )

    def refs(self, *below: str) -> dict[str, str]:
        """The refs here."""
        lines = self.do(shlex.join(["for-each-ref", "--format=%(refname) %(objectname)", *below]))
        return dict(line.split(" ") for line in lines.splitlines())

    def copy(self, name: str) -> "Client":
        """The same repository at another place: a colleague."""
        folder = self.folder.with_name(f"{self.folder.name}-{name}")
        shutil.copytree(self.folder, folder, symlinks=True)
        return Client(folder, self.side, self.repo)

    def clone(self, *options: str, into: str = "clone") -> "Client":
        """A clone of `origin`, which must succeed."""
        folder = self.folder.with_name(f"{self.folder.name}-{into}")
        done = self.git("clone", "-q", *options, self.url, str(folder))
        assert done.returncode == 0, (self.side.name, options, done.stderr)
        return Client(folder, self.side, self.repo)

    def hook(self, script: str) -> None:
        """What runs here when the server has said what it has, and before anything is sent to it."""
        path = self.folder / ".git/hooks/pre-push"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ncat >/dev/null; unset GIT_DIR\n{script}\n")
        path.chmod(0o755)


def history(folder: Path) -> Path:
    """What every scenario begins with: main (three commits), side, an annotated and a lightweight tag."""
    client = Client(folder, Side("none", "", folder), "")
    folder.mkdir(parents=True)
    client.do("init -q --template= -b main")
    for key, value in _CLIENT.items():
        client.do(f"config {key} {value}")
    for name, content in QUIET.items():
        client.write(name, content)
    for word in ("one", "two", "three"):
        client.write(f"src/{word}.txt", f"{word}\n" * 50)
        client.commit(word)
    client.do("tag v1 -a -m 'the first' main~1", "tag light main~2", "checkout -q -b side main~1")
    client.commit("aside")
    client.do("checkout -q main")
    return folder


@dataclass
class Pair:
    """Both servers, and clients with the same history for each."""

    git: Side
    hermes: Side
    template: Path
    work: Path

    def client(self, side: Side, *, published: bool = True) -> Client:
        """A repository of a user; `published`: main, side and v1 are on the server, the rest is not."""
        client = self._new(side, self.template)
        if published:
            client.do("push -q origin main side v1")
        return client

    def _new(self, side: Side, like: Path) -> Client:
        repo = side.fresh()
        client = Client(self.work / f"{side.name}-{repo}", side, repo)
        shutil.copytree(like, client.folder, symlinks=True)
        with (client.folder / ".git/config").open("a") as config:
            config.write(_ORIGIN.format(url=client.url))
        return client


@contextmanager
def pair(work: Path) -> Iterator[Pair]:
    """Both servers, up."""
    (work / "bare").mkdir()
    service = Service(work / "hermes", _INSTANCE)
    service.token = service.add_user(service.user)
    try:
        service.start()
        with gits_own(work / "bare") as git:
            yield Pair(git, ours(service), history(work / "template"), work)
    finally:
        code = service.stop()
    assert code == 0, service.log[-3000:]
    assert "Traceback" not in service.log, service.log[service.log.index("Traceback") - 500 :][:4000]
