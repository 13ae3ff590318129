"""Over SSH, with the deploy key of one repository: in this process, so that the key is in no file, on no
command line and in no other program. Git speaks with the server through a socket (`git remote-fd`), and can
speak nothing else; asyncssh connects to an address that was looked at, and takes no host key that is not
known."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncssh

from hermes.errors import HermesError, Refused, Unavailable
from hermes.host_keys import fingerprints, host_keys
from hermes.outward import Inward, Undelivered, parse_networks
from hermes.settings import Settings
from hermes.ssh_address import SshAddress
from hermes.ssh_client import NotLetIn, UnknownHostKey, signed_in
from hooks.complaints import Gone, ssh_complaint
from hooks.relay import Relay
from hooks.way import Opened

_START_S = 20.0
_ADD_AGAIN = "hermes github connect … --deploy-key adds it again, or shows it and where to paste it"


@dataclass(frozen=True)
class OverSsh:
    """One repository there. `host_key`: of hermes.upstreams.Upstream; `key`: the private half."""

    address: SshAddress
    name: str
    host_key: str
    key: str = field(repr=False)
    settings: Settings

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        """Raises Refused, Unavailable."""
        key = asyncssh.import_private_key(self.key)
        allowed = parse_networks(self.settings.callback_networks)
        try:
            async with signed_in(self.address, host_keys(self.address, self.host_key), key, allowed) as door:
                relay = Relay(await self._start(door))
                try:
                    async with self._opened(relay) as opened:
                        yield opened
                finally:
                    await relay.end()
        except Undelivered as error:
            raise self._complaint(error) from None

    async def _start(self, door: asyncssh.SSHClientConnection) -> "asyncssh.SSHClientProcess[bytes]":
        """The name was checked when it was connected (hermes.upstreams.place_of)."""
        words, env = f"git-upload-pack '/{self.name}.git'", {"GIT_PROTOCOL": "version=2"}
        try:
            async with asyncio.timeout(_START_S):
                return await door.create_process(words, encoding=None, env=env)
        except TimeoutError:
            raise Unavailable(f"{self.address} does not start git within {_START_S:.0f} s") from None
        except (asyncssh.Error, OSError) as error:
            raise Unavailable(f"{self.address} starts no git: {error}") from None

    @asynccontextmanager
    async def _opened(self, relay: Relay) -> AsyncIterator[Opened]:
        """What the connection or the server say weighs more than that git was cut off."""
        end = await relay.begin()
        try:
            yield Opened(f"fd::{end.fileno()}", {"GIT_ALLOW_PROTOCOL": "fd"}, end=end)
        except Gone:
            raise
        except HermesError as error:
            await relay.settle()
            raise relay.failure or ssh_complaint(relay.words) or error from None
        finally:
            end.close()

    def _complaint(self, error: Undelivered) -> HermesError:
        if isinstance(error, Inward):
            return Refused(str(error), "the operator can allow its address")
        if isinstance(error, NotLetIn):
            words = "it does not take our deploy key: it was removed there, or never added"
            return Refused(words, _ADD_AGAIN)
        if not isinstance(error, UnknownHostKey):
            return Unavailable(str(error))
        known = ", ".join(fingerprints(self.address, self.host_key))
        return Refused(
            f"the host key of {self.address.host} has changed: it shows {error.seen or 'none'}, not {known}",
            f"only if its operator says that this is right: hermes github connect … --host-key {error.seen}",
        )
