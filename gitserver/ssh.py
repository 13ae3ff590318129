"""Git over SSH: `ssh://git@host:2222/alice/pi.git`, users' public keys, the same policy and stream as HTTP.

A key signs its user in whatever the name before the `@`. There is no shell, no forwarding, no file transfer:
a connection can do what `git-upload-pack` and `git-receive-pack` do here, and nothing else."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from socket import socket
from typing import Any

import asyncssh

from gitserver.access import Caller
from gitserver.push import Door
from gitserver.ssh_session import Session
from hermes.errors import TooMany, Unavailable
from hermes.journal import log
from hermes.login import count_failure
from hermes.ssh_keys import mark_key_used, owner_of_key

_LOGIN_S = 20.0
_KEEP_ALIVE_S = 15.0  # a client that is gone without a word is noticed after three of them
_END_S = 3.0


def host_key(path: Path) -> asyncssh.SSHKey:
    """The key that clients remember this server by: made once, readable by this user only."""
    with suppress(FileNotFoundError):
        return asyncssh.read_private_key(path)
    key = asyncssh.generate_private_key("ssh-ed25519", comment="hermes")
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.export_private_key("openssh"))
        file.flush()
        os.fsync(file.fileno())
    path.with_suffix(".pub").write_bytes(key.export_public_key("openssh"))
    fresh.rename(path)
    return key


class _Connection(asyncssh.SSHServer):
    """Signs one client in."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._address = ""
        self._connection: asyncssh.SSHServerConnection | None = None
        self._signed_in = False
        self._offered = False

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        peer: Any = conn.get_extra_info("peername")
        self._address = str(peer[0]) if peer else ""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._offered and not self._signed_in:
            with suppress(TooMany):
                count_failure(self._door.context, self._address)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Asked for each key that is offered, and again for the one that is proven to be there: the last
        answer before `auth_completed` is about the key that signed."""
        assert self._connection is not None
        self._offered = True
        context = self._door.context
        try:
            async with context.database.read() as session:
                found = await owner_of_key(session, key.get_fingerprint())
        except Unavailable as error:
            raise asyncssh.DisconnectError(asyncssh.DISC_SERVICE_NOT_AVAILABLE, "try again") from error
        if found is None:
            if wait_s := context.failures.wait_s(f"address {self._address}"):
                words = str(TooMany("too many failed sign-ins", wait_s).hint)
                raise asyncssh.DisconnectError(asyncssh.DISC_BY_APPLICATION, words)
            return False
        self._connection.set_extra_info(caller=Caller(found[0], address=self._address), key=found[1])
        return True

    def auth_completed(self) -> None:
        self._signed_in = True


async def _serve(door: Door, closing: asyncio.Event, process: "asyncssh.SSHServerProcess[bytes]") -> None:
    """One command of one client, to its end or until the client is gone."""
    caller: Caller = process.get_extra_info("caller")
    work = asyncio.create_task(Session(door, closing, caller, process).serve())
    gone = asyncio.create_task(process.channel.wait_closed())
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (work, gone):
            task.cancel()
        with suppress(asyncio.CancelledError, asyncssh.Error, OSError):
            await work
    with suppress(Unavailable):
        async with door.context.database.write() as session:
            await mark_key_used(session, process.get_extra_info("key"))


@asynccontextmanager
async def serving(door: Door, closing: asyncio.Event, listener: socket) -> AsyncIterator[None]:
    """Listen while the block runs."""
    context = door.context
    asyncssh.set_log_level("WARNING")  # a line for each packet of each connection helps nobody
    key = host_key(context.paths.ssh_host_key)
    server = await asyncssh.listen(
        sock=listener,
        server_factory=lambda: _Connection(door),
        process_factory=lambda process: _serve(door, closing, process),
        server_host_keys=[key],
        encoding=None,
        allow_scp=False,
        login_timeout=_LOGIN_S,
        keepalive_interval=_KEEP_ALIVE_S,
        line_editor=False,
        agent_forwarding=False,
        server_version="Hermes",
    )
    log.info("git over ssh", port=context.settings.ssh_port, host_key=key.get_fingerprint())
    try:
        yield
    finally:
        server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await server.wait_closed()
