"""`/settings/tokens`: a user's secrets, made (and shown once), listed and revoked."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.accounts import SCOPES, Identity, revoke
from hermes.audit import Actor, write_down
from hermes.errors import UserError
from hermes.tables import User
from hermes.tokens import Wish, list_tokens, make_token
from web.forms import LIVES, Outcome, read_form, wish
from web.site import Site, number
from web.visitor import actor


async def _make(site: Site, by: Actor, user: User, asked: Wish) -> str:
    """The secret. Raises UserError."""
    async with site.context.database.write() as session:
        write_down(session, by, "token made", asked.name, asked.scope)
        return await make_token(session, user, asked)


def routes(site: Site) -> list[Route]:
    """Everybody sees only their own."""

    async def page(request: Request, identity: Identity, outcome: Outcome) -> Response:
        async with site.context.database.read() as session:
            found = await list_tokens(session, identity.user)
        values = {
            "tokens": [each for each in found if each.scope != "session" and each.repo_id is None],
            "sessions": [each for each in found if each.scope == "session"],
            "this_token": identity.token.id,
            "scopes": SCOPES,
            "lives": LIVES,
            "outcome": outcome,
        }
        return site.look.page(request, "tokens.html", values, outcome.status)

    async def show(request: Request) -> Response:
        return await page(request, await site.visitor(request), Outcome())

    async def make(request: Request) -> Response:
        identity = await site.visitor(request)
        typed = await read_form(request)
        try:
            secret = await _make(site, actor(request, identity.user), identity.user, wish(typed, "all"))
        except UserError as error:
            return await page(request, identity, Outcome("tokens", error, typed))
        return await page(request, identity, Outcome("tokens", secret=secret))

    async def end(request: Request) -> Response:
        identity = await site.visitor(request)
        async with site.context.database.write() as session:
            token = await revoke(session, identity.user, number(request.path_params, "token"))
            write_down(session, actor(request, identity.user), "token revoked", token.name, token.scope)
        return RedirectResponse("/settings/tokens", 303)

    return [
        Route("/settings/tokens", show, methods=["GET"]),
        Route("/settings/tokens", make, methods=["POST"]),
        Route("/settings/tokens/{token}/revoke", end, methods=["POST"]),
    ]
