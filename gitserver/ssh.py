"""Git over SSH: `ssh://git@host:2222/alice/pi.git`, users' public keys, the same policy and stream as HTTP.

A key signs its user in whatever the name before the `@`. There is no shell, no forwarding, no file transfer:
a connection can do what `git-upload-pack` and `git-receive-pack` do here, and nothing else."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import Any

import asyncssh

from gitserver.door import Door
from gitserver.ssh_channel import Channel, Flow
from gitserver.ssh_crowd import Crowd
from gitserver.ssh_guess import judge_guesses
from gitserver.ssh_session import Session
from hermes.errors import Refused, SettingsError, TooMany, Unavailable, UserError
from hermes.journal import log
from hermes.login import count_failure
from hermes.ssh_keys import owner_of_key
from hermes.throttle import source

_LOGIN_S = 20.0
_KEEP_ALIVE_S = 10.0  # of silence; a client that is gone without a word is noticed
_KEEP_ALIVES = 2  # after so many that it does not answer, and one more pause: 30 s
_MOST_KEYS = 20  # that one connection may try
_MOST_CHANNELS = 10  # at a time; as OpenSSH's MaxSessions
_END_S = 2.0
_LAST_WORDS_S = 0.2  # until clients have taken them; those who have nothing more to hear leave by themselves


def host_key(path: Path) -> asyncssh.SSHKey:
    """The key that clients remember this server by: made once, readable by this user only."""
    try:
        return asyncssh.read_private_key(path)
    except FileNotFoundError:
        pass
    except (asyncssh.KeyImportError, OSError, ValueError) as error:
        raise SettingsError(
            f"{path}: not a host key of ours ({error}); put the right one back, or remove it and another one "
            "is made (who has connected before is warned then)"
        ) from None
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


@dataclass(frozen=True)
class _House:
    """What all connections share."""

    door: Door
    closing: asyncio.Event
    crowd: Crowd = field(default_factory=Crowd)
    work: set[asyncio.Task[None]] = field(default_factory=set)  # what is done for clients now


class _Connection(asyncssh.SSHServer):
    """One client: signs it in, and opens its channels."""

    def __init__(self, house: _House) -> None:
        self._house, self._context = house, house.door.context
        self.address = ""
        self._signed_in = False
        self._keys_tried = 0
        self._channels: list[Channel] = []
        self._user = self._fingerprint = ""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection, self._flow = conn, Flow(conn)
        judge_guesses(conn)
        peer: Any = conn.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self._house.crowd.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._house.crowd.left(self)
        self._flow.over()
        if self._keys_tried and not self._signed_in:
            with suppress(TooMany):
                count_failure(self._context, self.address)

    def turn_away(self, reason: UserError) -> None:
        """In words, which ssh shows."""
        self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, _words(reason))

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Asked for each key that is offered, and again for the one that is proven to be there: the last
        answer before `auth_completed` is about the key that signed."""
        self._keys_tried += 1
        fingerprint = key.get_fingerprint()
        try:
            async with self._context.database.read() as session:
                found = await owner_of_key(session, fingerprint)
        except Unavailable as error:
            raise asyncssh.DisconnectError(asyncssh.DISC_SERVICE_NOT_AVAILABLE, "try again") from error
        if found is None:
            self._check_patience()
            return False
        self._user, self._fingerprint = found[0].name, fingerprint
        return True

    def _check_patience(self) -> None:
        reason: UserError | None = None
        if wait_s := self._context.failures.wait_s(f"address {source(self.address)}"):
            reason = TooMany("too many failed sign-ins", wait_s)
        elif self._keys_tried >= _MOST_KEYS:
            reason = Refused("none of so many keys is known here", "ssh -i KEY -o IdentitiesOnly=yes")
        if reason is not None:
            raise asyncssh.DisconnectError(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, _words(reason))

    def auth_completed(self) -> None:
        self._signed_in = True
        self._house.crowd.signed_in(self, self._user)

    def session_requested(self) -> Channel:
        """Raises ChannelOpenError when there are too many already."""
        self._channels = [each for each in self._channels if not each.is_over]
        if len(self._channels) >= _MOST_CHANNELS:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_RESOURCE_SHORTAGE, f"at most {_MOST_CHANNELS} commands at a time"
            )
        self._channels.append(Channel(self._flow, self._serve))
        return self._channels[-1]

    async def _serve(self, channel: Channel) -> None:
        house, task = self._house, asyncio.current_task()
        assert task is not None
        house.work.add(task)
        try:
            await Session(house.door, house.closing, channel, self._fingerprint, self.address).serve()
        finally:
            house.work.discard(task)


def _words(error: UserError) -> str:
    return f"{error}; {error.hint}"


@asynccontextmanager
async def serving(door: Door, closing: asyncio.Event, listener: socket) -> AsyncIterator[None]:
    """Listen while the block runs, or until `closing`."""
    house = _House(door, closing)
    asyncssh.set_log_level("WARNING")  # a line for each packet of each connection helps nobody
    key = host_key(door.context.paths.ssh_host_key)
    server = await asyncssh.listen(
        sock=listener,
        server_factory=lambda: _Connection(house),
        server_host_keys=[key],
        encoding=None,
        compression_algs=["none"],  # packs are compressed; and 32 KiB can stand for 32 MiB
        allow_pty=False,
        line_editor=False,
        agent_forwarding=False,
        login_timeout=_LOGIN_S,
        keepalive_interval=_KEEP_ALIVE_S,
        keepalive_count_max=_KEEP_ALIVES,
        server_version="Hermes",
    )
    log.info("git over ssh", port=door.context.settings.ssh_port, host_key=key.get_fingerprint())
    ending = asyncio.create_task(_end(house, server))
    try:
        yield
    finally:
        closing.set()
        await ending


async def _end(house: _House, server: asyncssh.SSHAcceptor) -> None:
    """When it is time, give streams the time for their last words; then the connections that are left are
    closed, and what was done for them comes to its end."""
    await house.closing.wait()
    server.close()
    await _wait_for(house.work)
    await asyncio.sleep(_LAST_WORDS_S)
    for guest in house.crowd.guests:
        guest.turn_away(Refused("the service restarts", "try again in a minute"))
    await _wait_for(house.work)


async def _wait_for(work: set[asyncio.Task[None]]) -> None:
    if work:
        await asyncio.wait(work, timeout=_END_S)
