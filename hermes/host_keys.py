"""Host keys of forges' SSH servers: those that are published ship with us (`known_hosts`), of others the
first one that is seen is kept, or the one that somebody has named by its fingerprint."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import asyncssh

from hermes.errors import UserError
from hermes.outward import Inward, Undelivered
from hermes.ssh_address import PORT, SshAddress
from hermes.ssh_client import HOST_KEY_KINDS, shown_host_key

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


def host_keys(address: SshAddress, kept: str) -> list[asyncssh.SSHKey]:
    """Any of which it may show. `kept`: what was kept when it was connected, "" for what is published."""
    if kept:
        return [asyncssh.import_public_key(kept)]
    port = None if address.port == PORT else address.port
    published, *_ = _published().match(address.host, "", port)
    return list(published)


def fingerprints(address: SshAddress, kept: str) -> list[str]:
    """Of these, as `ssh-keygen -l` shows them."""
    return [each.get_fingerprint() for each in host_keys(address, kept)]


async def see_host_key(address: SshAddress, allowed: Iterable[Any], wanted: str = "") -> str:
    """The one that it shows now, to be kept; with `wanted`, a fingerprint, only that one. Raises
    UserError."""
    if wanted and not _FINGERPRINT.fullmatch(wanted):
        raise UserError(
            f"{wanted[:100]!r} is no fingerprint of a host key", "write SHA256:… as ssh-keygen -l shows it"
        )
    shown: dict[str, str] = {}
    for kind in HOST_KEY_KINDS:
        key = await _look(address, kind, allowed)
        line = " ".join(key.export_public_key("openssh").decode().split()[:2])
        shown[key.get_fingerprint()] = line
        if not wanted or key.get_fingerprint() == wanted:
            return line
    raise UserError(
        f"{address} shows other host keys than {wanted}: {', '.join(shown)}",
        "ask its operator which one is right; if none of these is, somebody may be in between",
    )


async def _look(address: SshAddress, kind: str, allowed: Iterable[Any]) -> asyncssh.SSHKey:
    try:
        return await shown_host_key(address, kind, allowed)
    except Inward as error:
        raise UserError(str(error), "the operator can allow its address") from None
    except Undelivered as error:
        raise UserError(
            str(error), "where does it answer to SSH? For example forge.example.org:2222"
        ) from None


@cache
def _published() -> asyncssh.SSHKnownHosts:
    return asyncssh.import_known_hosts(Path(__file__).with_name("known_hosts").read_text())
