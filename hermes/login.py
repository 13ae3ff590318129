"""Checks a secret at the door and counts what fails, by address and by the name that was claimed."""

import asyncio
from contextlib import suppress

from hermes.accounts import Identity, identify, is_stale, mark_used
from hermes.errors import TooMany, Unavailable
from hermes.process import Context
from hermes.throttle import source

_REMEMBER_S = 1.0


def count_failure(context: Context, address: str, name: str = "") -> None:
    """Somebody could not say who they are. Raises TooMany when this address or this name failed too often.

    Only failures are turned away: a right token passes from an address that others spoil."""
    keys = [f"address {source(address)}", *([f"user {name}"] if name else [])]
    for key in keys:
        context.failures.count(key)
    context.failed.count(address, name)
    wait_s = max(context.failures.wait_s(key) for key in keys)
    if wait_s:
        raise TooMany("too many failed sign-ins", wait_s)


async def sign_in(
    context: Context, secret: str, address: str, name: str = "", scopes: tuple[str, ...] = ("all",)
) -> Identity | None:
    """Whose secret it is; None: nobody's, and that was counted. Raises TooMany."""
    identity = await context.database.read_at_once(lambda ask: identify(ask, secret, *scopes))
    if identity is None:
        count_failure(context, address, name)
        return None
    await used(context, identity)
    return identity


async def used(context: Context, identity: Identity) -> None:
    """Remember that the token works, now and then. Where that cannot be written it is of no weight, and who
    only reads is not kept waiting for it."""
    if is_stale(identity.token) and not context.room.trouble():
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_REMEMBER_S), context.database.write() as session:
                await mark_used(session, identity.token)
