"""Git over SSH as people do it: a key of ssh-keygen, the real ssh; and asyncssh for what nobody does."""

import asyncio
import os
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.accounts import add_user, find_user
from hermes.database import Database
from hermes.ssh_keys import add_key
from tests.leftovers import the_process
from tests.programs import command_lines
from tests.service import GIT_ENV, PATIENCE_S, Pushed, Service, WorkTree, remote_words, wait_for

HOST = "127.0.0.1"
#: A tree whose push starts nothing.
QUIET: dict[str, str | bytes] = {"hermes.toml": "[on]\npush = []\n", "Makefile": "all:\n\t@true\n"}
Done = subprocess.CompletedProcess[str]


def make_key(folder: Path, *options: str, name: str = "id") -> Path:
    """A private key by ssh-keygen (`-t ed25519` unless told); its public half lies beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    words = options or ("-t", "ed25519")
    command = ["ssh-keygen", "-q", *words, "-N", "", "-C", f"{name}@laptop", "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def public(key: Path) -> str:
    """The line that one pastes."""
    return Path(f"{key}.pub").read_text()


def run(words: list[str], env: dict[str, str] | None = None, **more: Any) -> Done:
    """A program to its end."""
    done = subprocess.run(
        words, env=env, capture_output=True, check=False, timeout=more.pop("timeout", PATIENCE_S), **more
    )
    return Done(
        words, done.returncode, *(each.decode(errors="replace") for each in (done.stdout, done.stderr))
    )


@dataclass
class Person:
    """Somebody with a key, and what they do with an instance."""

    service: Service
    key: Path
    user: str
    host: str = HOST
    prefix: list[str] = field(default_factory=list)  # before every command: in which network it runs

    def __post_init__(self) -> None:
        """The operator has told them the key of the host."""
        host_key = Path(self.service.data / "ssh_host_ed25519_key.pub").read_text()
        with self.known_hosts.open("a") as known:
            known.write(f"[{self.host}]:{self.service.ssh_port} {host_key}")

    @property
    def known_hosts(self) -> Path:
        """What this person's ssh remembers."""
        return self.key.with_name("known_hosts")

    def words(self, *options: str) -> list[str]:
        """The ssh of this person; nothing of the machine's own configuration or agent. `options` win."""
        return [
            "ssh", "-F", "/dev/null", *options, "-i", str(self.key),
            "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
            "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "GlobalKnownHostsFile=/dev/null",
            "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
        ]  # fmt: skip

    def env(self, *options: str) -> dict[str, str]:
        """Of git."""
        return os.environ | GIT_ENV | {"GIT_SSH_COMMAND": shlex.join(self.words(*options))}

    def url(self, repo: str) -> str:
        """Of a repository; of this person if it has no owner."""
        path = repo if "/" in repo else f"{self.user}/{repo}"
        return f"ssh://git@{self.host}:{self.service.ssh_port}/{path}.git"

    def ssh(self, *words: str, options: tuple[str, ...] = (), **more: Any) -> Done:
        """`ssh git@host words`."""
        target = ["-p", str(self.service.ssh_port), f"git@{self.host}"]
        return run([*self.prefix, *self.words(*options), *target, *words], stdin=subprocess.DEVNULL, **more)

    def git(self, *words: str, env: dict[str, str] | None = None, **more: Any) -> Done:
        """Git, whatever its end is."""
        return run([*self.prefix, "git", *words], self.env() | (env or {}), **more)

    def push_command(self, repo: str, *options: str, refs: tuple[str, ...] = ("HEAD:main",)) -> list[str]:
        """The words of a push."""
        wanted = [word for option in options for word in ("-o", option)]
        return [*self.prefix, "git", "push", *wanted, self.url(repo), *refs]

    def push(
        self, tree: WorkTree, repo: str, *options: str, refs: tuple[str, ...] = ("HEAD:main",), **more: Any
    ) -> Pushed:
        """`git push`, to its end."""
        began = time.monotonic()
        env = self.env() | more.pop("env", {})
        done = run(self.push_command(repo, *options, refs=refs), env, cwd=tree.folder, **more)
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

    def begin(self, tree: WorkTree, repo: str, *options: str) -> "subprocess.Popen[str]":
        """A push in a process group of its own, as a terminal starts it."""
        return subprocess.Popen(
            self.push_command(repo, *options),
            cwd=tree.folder,
            env=self.env(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def refs(self, repo: str) -> dict[str, str]:
        """What `git ls-remote` shows."""
        done = self.git("ls-remote", self.url(repo))
        assert done.returncode == 0, done.stderr
        pairs = (line.split("\t") for line in done.stdout.splitlines())
        return {name: sha for sha, name in pairs if name != "HEAD"}

    @asynccontextmanager
    async def connection(self, **options: Any) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """A connection whose every packet is ours."""
        given = {"known_hosts": None, "config": None, "agent_path": None, "client_keys": [str(self.key)]}
        async with asyncssh.connect(
            self.host, self.service.ssh_port, username="git", **(given | options)
        ) as connection:
            yield connection


def in_database(service: Service, act: Callable[[AsyncSession], Coroutine[Any, Any, object]]) -> None:
    """What a command of the operator would do, without the seconds that it needs to start."""

    async def main() -> None:
        database = Database(f"sqlite+aiosqlite:///{service.data / 'hermes.db'}")
        try:
            async with database.write() as session:
                await act(session)
        finally:
            await database.close()

    with ThreadPoolExecutor(1) as other:  # asynchronous tests have a loop in this thread
        other.submit(asyncio.run, main()).result()


def person(service: Service, folder: Path, user: str, key: Path | None = None) -> Person:
    """A user of this instance with a key that is known there."""
    private = key or make_key(folder / user)

    async def add(session: AsyncSession) -> None:
        owner = await find_user(session, user) or await add_user(session, user)
        await add_key(session, owner, public(private))

    in_database(service, add)
    return Person(service, private, user)


class Idlers:
    """Connections that say nothing, and when the server closed each."""

    def __init__(self, port: int, count: int) -> None:
        self.closed_after: list[float] = []
        self.made_room: list[bytes] = []  # what was said to those who did
        self._threads = [threading.Thread(target=self._wait, args=(port,), daemon=True) for _ in range(count)]
        for each in self._threads:
            each.start()
            time.sleep(0.002)

    def _wait(self, port: int) -> None:
        began = time.monotonic()
        said = b""
        with socket.create_connection((HOST, port), PATIENCE_S) as idle, suppress(OSError):
            while part := idle.recv(4096):
                said += part
        if b"too many connections" in said:
            self.made_room.append(said)
        self.closed_after.append(time.monotonic() - began)

    def wait(self) -> list[float]:
        """All of them."""
        for each in self._threads:
            each.join(PATIENCE_S)
        return self.closed_after


def resident_bytes(service: Service) -> int:
    """What its memory holds."""
    status = Path(f"/proc/{the_process(service, 'hermes web')}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) << 10


def wait_for_no_git(service: Service, timeout_s: float = PATIENCE_S) -> None:
    """Until no git of ours works in the repositories."""
    repos = str(service.data / "repos")
    wait_for(lambda: not any(repos in line for line in command_lines().values()), timeout_s)


@asynccontextmanager
async def command(
    connection: asyncssh.SSHClientConnection, text: str, **options: Any
) -> "AsyncIterator[asyncssh.SSHClientProcess[bytes]]":
    """A command over a connection; bytes, as git's protocol is."""
    async with connection.create_process(text, encoding=None, **options) as process:
        yield process


async def packets(process: "asyncssh.SSHClientProcess[bytes]") -> "AsyncIterator[bytes]":
    """The packets of one section, up to its flush."""
    while (length := int(await process.stdout.readexactly(4), 16)) > 4:
        yield await process.stdout.readexactly(length - 4)


def network(name: str, subnet: str) -> Iterator[tuple[list[str], str, str]]:
    """A network namespace behind a link: (what to put before a command, our address, our end of the link)."""
    ours, theirs = f"{name}0"[-15:], f"{name}1"[-15:]
    ip = [
        f"ip netns add {name}",
        f"ip link add {ours} type veth peer name {theirs} netns {name}",
        f"ip addr add {subnet}.1/24 dev {ours}",
        f"ip link set {ours} up",
        f"ip -n {name} addr add {subnet}.2/24 dev {theirs}",
        f"ip -n {name} link set {theirs} up",
    ]
    try:
        for line in ip:
            subprocess.run(line.split(), check=True, capture_output=True)
        yield ["ip", "netns", "exec", name], f"{subnet}.1", ours
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", ours], check=False, capture_output=True)
