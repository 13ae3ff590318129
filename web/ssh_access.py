"""How a repository elsewhere is to be fetched over SSH: where, by which host key, with which deploy key."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hermes.deploy_keys import DeployKey, make_deploy_key
from hermes.errors import UserError
from hermes.forges.base import Seen
from hermes.host_keys import host_keys, see_host_key
from hermes.ssh_address import SshAddress, read_address, usual_address
from hermes.upstreams import Upstream
from web.connected import Ours, Wish

#: How its host key has come to be believed.
PUBLISHED, FIRST_SEEN, KNOWN, CONFIRMED = "published", "first seen", "known", "confirmed"


@dataclass(frozen=True)
class SshAccess:
    """`host_key`: "" for what is published; `how`: one of the words above; `is_new`: its key was made now."""

    address: SshAddress
    host_key: str
    how: str
    key: DeployKey
    is_new: bool


def is_wanted(wish: Wish, was: Upstream | None) -> bool:
    """Unless it is said, as it was. Raises UserError for what is said of nothing."""
    wanted = bool(was and was.ssh) if wish.deploy_key is None else wish.deploy_key
    if not wanted and (wish.ssh or wish.host_key):
        raise UserError(
            "an SSH address and a host key are for fetching with a deploy key", "ask for a deploy key, too"
        )
    return wanted


async def agree(
    wish: Wish, was: Upstream | None, seen: Seen | None, private: str, allowed: Iterable[Any], ours: Ours
) -> SshAccess:
    """`was`: it follows that place already; `private`: its deploy key. Raises UserError."""
    address = _address(wish, was, seen)
    host_key, how = await _host_key(wish, was, address, tuple(allowed))
    is_new = was is None or not was.public_key or not private
    if was is None or is_new:
        key = make_deploy_key(f"hermes:{ours.whole}")
    else:
        key = DeployKey(was.public_key, private)
    return SshAccess(address, host_key, how, key, is_new)


def _address(wish: Wish, was: Upstream | None, seen: Seen | None) -> SshAddress:
    """As somebody says, as it was, as the forge says, else at the usual port of the same server."""
    if said := wish.ssh or (was.ssh if was else ""):
        return read_address(said)
    try:
        return read_address(seen.ssh_url if seen else "")
    except UserError:
        return usual_address(wish.place.base_url)


async def _host_key(
    wish: Wish, was: Upstream | None, address: SshAddress, allowed: tuple[Any, ...]
) -> tuple[str, str]:
    """And how it is believed. One that was kept stays, whatever is shown now. Raises UserError."""
    if wish.host_key:
        return await see_host_key(address, allowed, wish.host_key), CONFIRMED
    if was is not None and was.host_key and was.ssh == str(address):
        return was.host_key, KNOWN
    if host_keys(address, ""):
        return "", PUBLISHED
    return await see_host_key(address, allowed), FIRST_SEEN
