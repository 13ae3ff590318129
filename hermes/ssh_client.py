"""SSH as a client, to servers that users name: to an address that was looked at, with nothing of this
machine's own configuration, agent or keys, and to no host key that is not known."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncssh

from hermes.outward import Undelivered, resolve
from hermes.ssh_address import SshAddress

_CONNECT_S, _LOGIN_S = 10.0, 20.0
#: Kinds of host keys as keys are called, and what each can sign with; the better ones first.
_SIGNS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
HOST_KEY_KINDS = tuple(_SIGNS)


class UnknownHostKey(Undelivered):
    """It shows another host key than those that are known. `seen`: its fingerprint, "" if it shows none."""

    def __init__(self, seen: str) -> None:
        super().__init__(f"its host key is not the one that is known{': ' * bool(seen)}{seen}")
        self.seen = seen


class NotLetIn(Undelivered):
    """It does not take the key."""


class _Client(asyncssh.SSHClient):
    """Remembers the host key that is refused."""

    seen = ""

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked for one that is not known."""
        self.seen = key.get_fingerprint()
        return False


@asynccontextmanager
async def signed_in(
    address: SshAddress, host_keys: Sequence[asyncssh.SSHKey], key: asyncssh.SSHKey, allowed: Iterable[Any]
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection with that key. Raises UnknownHostKey, NotLetIn, hermes.outward.Inward, Undelivered."""
    near, client = await _dial(address, allowed), _Client()
    options = asyncssh.SSHClientConnectionOptions(
        config=None,
        agent_path=None,
        client_keys=[key],
        username=address.user,
        known_hosts=(list(host_keys), [], []),
        server_host_key_algs=_best_first([each.algorithm.decode() for each in host_keys]),
        x509_trusted_cert_paths=[],
        preferred_auth="publickey",
        compression_algs=["none"],
        gss_host=None,
    )
    try:
        async with asyncio.timeout(_LOGIN_S):
            connection, _ = await asyncssh.create_connection(lambda: client, sock=near, options=options)
    except (TimeoutError, OSError, asyncssh.Error) as error:
        near.close()
        raise _failure(address, client, error) from None
    try:
        if connection.get_server_host_key() not in host_keys:  # whatever kinds of proof there are
            raise UnknownHostKey("")
        yield connection
    finally:
        connection.abort()


async def shown_host_key(address: SshAddress, kind: str, allowed: Iterable[Any]) -> asyncssh.SSHKey:
    """What it shows to who likes this kind best; of another kind if it has none. Raises as `signed_in`."""
    near = await _dial(address, allowed)
    try:
        async with asyncio.timeout(_LOGIN_S):
            key = await asyncssh.get_server_host_key(
                sock=near, config=None, server_host_key_algs=_best_first([kind])
            )
    except (TimeoutError, OSError, asyncssh.Error) as error:
        raise _failure(address, None, error) from None
    finally:
        near.close()
    if key is None:
        raise UnknownHostKey("")
    return key


def _best_first(kinds: Sequence[str]) -> list[str]:
    """A server takes the first that it has: a kind that is known, else any, to say what it shows instead."""
    return [sign for kind in dict.fromkeys((*kinds, *HOST_KEY_KINDS)) for sign in _SIGNS.get(kind, ())]


async def _dial(address: SshAddress, allowed: Iterable[Any]) -> socket.socket:
    """Connected to what its name means now: asyncssh gets the socket, and looks nothing up."""
    loop, reason = asyncio.get_running_loop(), ""
    asyncssh.set_log_level("WARNING")  # a line for each packet helps nobody
    for found in await resolve(address.host, address.port, allowed):
        near = socket.socket(socket.AF_INET6 if ":" in found else socket.AF_INET, socket.SOCK_STREAM)
        near.setblocking(False)
        try:
            async with asyncio.timeout(_CONNECT_S):
                await loop.sock_connect(near, (found, address.port))
            return near
        except TimeoutError:
            reason = f"no answer in {_CONNECT_S:.0f} s"
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
        except BaseException:
            near.close()
            raise
        near.close()
    raise Undelivered(f"the SSH port of {address.host} ({address.port}) is closed: {reason}")


def _failure(address: SshAddress, client: _Client | None, error: Exception) -> Undelivered:
    """In our words."""
    if isinstance(error, asyncssh.PermissionDenied):
        return NotLetIn(f"{address} does not take the key")
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return UnknownHostKey(client.seen if client else "")
    if isinstance(error, TimeoutError):
        return Undelivered(f"{address} does not answer as an SSH server does within {_LOGIN_S:.0f} s")
    reason = error.reason if isinstance(error, asyncssh.Error) else str(error)
    return Undelivered(f"SSH with {address} failed: {' '.join(reason.split())[:200]}")
