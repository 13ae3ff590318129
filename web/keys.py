"""`/settings/keys`: the public keys that sign a user in over SSH, and the key that this server shows."""

from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.audit import Actor, write_down
from hermes.errors import UserError
from hermes.ssh_keys import add_key, list_keys, read_key, remove_key
from hermes.tables import User
from hermes.threads import in_thread
from web.addresses import addresses
from web.forms import Outcome, done, read_form
from web.site import Site, number
from web.visitor import actor


def _fingerprint(path: Path) -> str:
    """Of the key that clients know this server by; empty before it was ever started with SSH."""
    try:
        return read_key(path.read_text())[0].get_fingerprint()
    except (OSError, UserError):
        return ""


async def _add(site: Site, by: Actor, user: User, typed: Mapping[str, str]) -> None:
    """Raises UserError."""
    async with site.context.database.write() as session:
        key = await add_key(session, user, typed.get("key", ""), typed.get("name", ""))
        write_down(session, by, "key added", key.name, key.fingerprint)


def routes(site: Site) -> list[Route]:
    """Everybody sees only their own."""

    async def page(request: Request, user: User, outcome: Outcome) -> Response:
        async with site.context.database.read() as session:
            keys = await list_keys(session, user)
        host_key = site.context.paths.ssh_host_key.with_suffix(".pub")
        values = {
            "keys": keys,
            "address": addresses(site.context.settings, user, f"{user.name}/my-project").ssh,
            "fingerprint": await in_thread(_fingerprint, host_key),
            "outcome": outcome,
        }
        return site.look.page(request, "keys.html", values, outcome.status)

    async def show(request: Request) -> Response:
        return await page(request, await site.user(request), done(request))

    async def add(request: Request) -> Response:
        user = await site.user(request)
        typed = await read_form(request)
        try:
            await _add(site, actor(request, user), user, typed)
        except UserError as error:
            return await page(request, user, Outcome("keys", error, typed))
        return RedirectResponse("/settings/keys?done=keys", 303)

    async def remove(request: Request) -> Response:
        user = await site.user(request)
        async with site.context.database.write() as session:
            key = await remove_key(session, user, number(request.path_params, "key"))
            write_down(session, actor(request, user), "key removed", key.name, key.fingerprint)
        return RedirectResponse("/settings/keys", 303)

    return [
        Route("/settings/keys", show, methods=["GET"]),
        Route("/settings/keys", add, methods=["POST"]),
        Route("/settings/keys/{key}/remove", remove, methods=["POST"]),
    ]
