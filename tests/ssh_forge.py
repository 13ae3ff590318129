"""A forge's SSH server: git-upload-pack of bare repositories for who has a deploy key of just that one. It
can change its host key, go away, be silent or slow."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import asyncssh

from bench.http_backend import end
from hermes.deploy_keys import is_same_key
from hermes.git import git_env, init_bare
from tests.cable import all_are_in, end_all
from tests.service import PATIENCE_S, WorkTree, free_port
from tests.stand_in_forge import There

T = TypeVar("T")
_QUESTION = "git-upload-pack "


class Asked(NamedTuple):
    """One command: by which name and key, with which variables."""

    command: str
    user: str
    key: str
    env: dict[str, str]


class SshForge:
    """Of the repositories that are `there`, below `folder` by `OWNER/NAME.git`."""

    def __init__(self, folder: Path, there: Sequence[There], host: str) -> None:
        self.folder, self.there, self.host, self.port = folder, list(there), host, free_port()
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.more_host_keys: list[asyncssh.SSHKey] = []
        self.asked: list[Asked] = []
        self.logins = 0  # how many have tried
        self.silent = False  # connections are taken, and nothing is said
        self.drip_s = 0.0  # between two bytes of what is fetched
        self.cut_after = 0  # bytes of an answer; then the connection breaks off
        self.connections: list[asyncssh.SSHServerConnection] = []
        self._quiet: list[asyncio.StreamWriter] = []
        self._at_work: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._server: Any = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """As people write it."""
        return f"git@{self.host}:{self.port}"

    @property
    def fingerprint(self) -> str:
        """Of its host key."""
        return self.host_key.get_fingerprint()

    def start(self) -> None:
        """At its port, with its host key of now."""
        self._do(self._start())

    def stop(self) -> None:
        """Whoever is connected is cut off."""
        self._do(self._stop())

    @contextmanager
    def listening_at(self, host: str) -> Iterator[None]:
        """Also there."""
        more = self._do(self._listen(host))
        yield
        more.close()
        self._do(more.wait_closed())

    def change_host_key(self, kind: str = "ssh-ed25519") -> None:
        """As after a new installation."""
        self.stop()
        self.host_key = asyncssh.generate_private_key(kind)
        self.start()

    def close(self) -> None:
        """For good."""
        self.stop()
        self._do(end_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, step: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(PATIENCE_S)

    async def _start(self) -> None:
        if self.silent:
            self._server = await asyncio.start_server(self._say_nothing, "127.0.0.1", self.port)
            return
        self._server = await self._listen("127.0.0.1")

    async def _listen(self, host: str) -> Any:
        return await asyncssh.listen(
            host,
            self.port,
            server_host_keys=[self.host_key, *self.more_host_keys],
            server_factory=lambda: _Door(self),
            process_factory=self._serve,
            encoding=None,
        )

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await all_are_in()
        while self._quiet:
            writer = self._quiet.pop()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        while self.connections:
            each = self.connections.pop()
            each.abort()
            await each.wait_closed()
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        self._server = None

    async def _say_nothing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.logins += 1
        self._quiet.append(writer)
        try:
            await reader.read()
        finally:  # also when all of it ends now
            writer.close()

    async def _serve(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        key = process.get_extra_info("hermes_key")
        command = process.command or ""
        self.asked.append(Asked(command, process.get_extra_info("username"), key, dict(process.env)))
        name = command.removeprefix(_QUESTION).strip("'").removeprefix("/").removesuffix(".git")
        there = next((each for each in self.there if each.name == name), None)
        if there is None or not any(is_same_key(each["key"], key) for each in there.keys):
            process.stderr.write(b"ERROR: Repository not found.\n")
            process.exit(1)
            return
        env = git_env(process.env)
        words = ("git", "upload-pack", str(self.folder / f"{name}.git"))
        pipe = asyncio.subprocess.PIPE
        task = asyncio.current_task()
        assert task is not None
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        making = asyncio.create_subprocess_exec(*words, env=env, stdin=pipe, stdout=pipe, stderr=pipe)
        child = await _whatever_happens(making)
        up = asyncio.create_task(_up(process, child))
        try:
            await self._answer(process, child)
            if process.is_closing():
                with suppress(ProcessLookupError):
                    child.kill()
            process.exit(await child.wait())
        finally:  # also when all of it ends now, and however often it is told so
            up.cancel()
            await _whatever_happens(asyncio.gather(up, end(child), return_exceptions=True))

    async def _answer(
        self, process: "asyncssh.SSHServerProcess[bytes]", child: asyncio.subprocess.Process
    ) -> None:
        assert child.stdout is not None and child.stderr is not None
        sent = 0
        while part := await child.stdout.read(1 if self.drip_s else 1 << 14):
            await asyncio.sleep(self.drip_s)
            process.stdout.write(part)
            await process.stdout.drain()
            sent += len(part)
            if self.cut_after and sent > self.cut_after:
                process.get_extra_info("connection").abort()
                return
        process.stderr.write(await child.stderr.read())


async def _whatever_happens(work: Awaitable[T]) -> T:
    """Its result, however often who waits for it is cancelled."""
    doing = asyncio.ensure_future(work)
    while not doing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(doing)
    return doing.result()


async def _up(process: "asyncssh.SSHServerProcess[bytes]", child: asyncio.subprocess.Process) -> None:
    assert child.stdin is not None
    while part := await process.stdin.read(1 << 14):
        child.stdin.write(part)
        await child.stdin.drain()
    child.stdin.close()


class _Door(asyncssh.SSHServer):
    """Lets in whoever has a deploy key of any repository, as forges do."""

    def __init__(self, forge: SshForge) -> None:
        self._forge = forge

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._forge.connections.append(conn)
        self._forge.logins += 1

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        line = key.export_public_key("openssh").decode()
        self._connection.set_extra_info(hermes_key=line)
        return any(is_same_key(row["key"], line) for each in self._forge.there for row in each.keys)


@contextmanager
def ssh_forge(folder: Path, *there: There, host: str = "localhost") -> Iterator[SshForge]:
    """One that answers."""
    forge = SshForge(folder, there, host)
    forge.start()
    try:
        yield forge
    finally:
        forge.close()


def fill(forge: SshForge, name: str, files: dict[str, str | bytes], folder: Path) -> WorkTree:
    """A repository there with one commit; what is pushed from the tree to `origin` is pushed there."""
    bare = forge.folder / f"{name}.git"
    bare.parent.mkdir(parents=True, exist_ok=True)
    init_bare(bare)
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True, env=os.environ | git_env())
    tree = WorkTree(folder)
    tree.write(files).commit()
    tree.git("remote", "add", "origin", str(bare))
    tree.git("push", "-q", "origin", "HEAD:main")
    return tree
