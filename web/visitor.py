"""Who asks: a bearer token (programs) or the session cookie (browsers). Owns the cookie."""

from starlette.requests import Request
from starlette.responses import Response

from hermes.accounts import Identity, identify, is_stale, mark_used
from hermes.errors import UserError
from hermes.process import Context

COOKIE = "hermes_session"
SESSION_LIFE_S = 30 * 86400.0


class SignInNeeded(UserError):
    """Nobody is signed in, or the token is not valid (any more)."""

    code = "unauthorized"
    status = 401


def bearer(request: Request) -> str | None:
    """The secret in `Authorization: Bearer …`, if there is one."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


async def visitor(request: Request, context: Context) -> Identity:
    """By token if one is sent, else by cookie. Raises SignInNeeded."""
    if bearer(request) is not None:
        return await program(request, context)
    return await _check(request, context, request.cookies.get(COOKIE, ""), "session")


async def program(request: Request, context: Context) -> Identity:
    """By token only, so that no other site can use a browser's cookie. Raises SignInNeeded."""
    return await _check(request, context, bearer(request) or "", "all")


async def _check(request: Request, context: Context, secret: str, scope: str) -> Identity:
    async with context.database.read() as session:
        identity = await identify(session, secret, scope)
    if identity is None:
        words = "this token is not valid (any more)" if secret else "nobody is signed in"
        raise SignInNeeded(words, "send a token as `Authorization: Bearer hermes_…`")
    if is_stale(identity.token):
        async with context.database.write() as session:
            await mark_used(session, identity.token)
    request.state.user = identity.user  # error pages show it too
    return identity


def set_cookie(response: Response, secret: str, public_url: str) -> None:
    """Sign the browser in."""
    secure = public_url.startswith("https://")
    response.set_cookie(
        COOKIE, secret, max_age=int(SESSION_LIFE_S), httponly=True, samesite="lax", secure=secure
    )
