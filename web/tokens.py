"""`/settings/tokens`: a user's secrets, made (and shown once), listed and revoked."""

import time

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.accounts import Identity, add_token, revoke
from hermes.errors import UserError
from hermes.tables import Token
from web.site import Site, number

_MAX_NAME = 100


async def _valid(session: AsyncSession, user_id: int) -> list[Token]:
    rows = await session.scalars(
        select(Token)
        .where(
            Token.user_id == user_id,
            Token.revoked_at.is_(None),
            or_(Token.expires_at.is_(None), Token.expires_at > time.time()),
        )
        .order_by(Token.id.desc())
    )
    return list(rows.all())


def routes(site: Site) -> list[Route]:
    """Everybody sees only their own."""

    async def page(request: Request, identity: Identity, secret: str = "") -> Response:
        async with site.context.database.read() as session:
            tokens = await _valid(session, identity.user.id)
        values = {
            "tokens": [token for token in tokens if token.scope != "session"],
            "sessions": [token for token in tokens if token.scope == "session"],
            "this_token": identity.token.id,
            "secret": secret,
        }
        return site.look.page(request, "tokens.html", values, 201 if secret else 200)

    async def show(request: Request) -> Response:
        return await page(request, await site.visitor(request))

    async def make(request: Request) -> Response:
        identity = await site.visitor(request)
        name = str((await request.form()).get("name", "")).strip()
        if not name or len(name) > _MAX_NAME or not name.isprintable():
            raise UserError("a token needs a name of 1 to 100 characters", "say where it will be used")
        async with site.context.database.write() as session:
            secret = await add_token(session, identity.user, name)
        return await page(request, identity, secret)

    async def end(request: Request) -> Response:
        identity = await site.visitor(request)
        async with site.context.database.write() as session:
            await revoke(session, identity.user, number(request.path_params, "token"))
        return RedirectResponse("/settings/tokens", 303)

    return [
        Route("/settings/tokens", show, methods=["GET"]),
        Route("/settings/tokens", make, methods=["POST"]),
        Route("/settings/tokens/{token}/revoke", end, methods=["POST"]),
    ]
