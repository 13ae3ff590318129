"""Who asks: a bearer token (programs) or the session cookie (browsers). Owns the cookie."""

from starlette.requests import Request
from starlette.responses import Response

from hermes.accounts import Identity, identify
from hermes.audit import Actor
from hermes.errors import UserError
from hermes.login import sign_in, used
from hermes.process import Context
from hermes.tables import User

COOKIE = "hermes_session"
SESSION_LIFE_S = 30 * 86400.0
_NOBODY = "nobody is signed in"


class SignInNeeded(UserError):
    """Nobody is signed in, or the token is not valid (any more)."""

    code = "unauthorized"
    status = 401


def sign_in_needed(words: str = _NOBODY) -> SignInNeeded:
    """For people it becomes the form, for programs these words."""
    return SignInNeeded(words, "send a token as `Authorization: Bearer hermes_…`")


def bearer(request: Request) -> str | None:
    """The secret in `Authorization: Bearer …`, if there is one."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


async def visitor(request: Request, context: Context) -> Identity:
    """By token if one is sent, else by cookie. Raises SignInNeeded."""
    if bearer(request) is not None:
        return await program(request, context)
    secret = request.cookies.get(COOKIE, "")
    found = context.database.read_at_once(lambda ask: identify(ask, secret, "session")) if secret else None
    identity = None if found is None else await found
    if identity is not None:
        await used(context, identity)
    return _remember(request, identity)


async def reader(request: Request, context: Context) -> User | None:
    """Who reads a page; None: somebody who is not signed in, to whom public repositories are open. Raises
    SignInNeeded where they are not, and for a token that is sent and not valid."""
    try:
        return (await visitor(request, context)).user
    except SignInNeeded:
        if bearer(request) is not None or context.settings.anonymous == "none":
            raise
        request.state.stranger = True
        return None


def is_stranger(request: Request) -> bool:
    """Whether a page was asked for by somebody who is not signed in, and `reader` let them look."""
    return bool(getattr(request.state, "stranger", False))


async def program(request: Request, context: Context) -> Identity:
    """By token only, so that no other site can use a browser's cookie. Raises SignInNeeded."""
    secret = bearer(request)
    if not secret:
        return _remember(request, None)
    identity = await sign_in(context, secret, address(request))
    return _remember(request, identity, "this token is not valid (any more)")


def address(request: Request) -> str:
    """Where the request comes from."""
    return request.client.host if request.client else ""


def actor(request: Request, user: User) -> Actor:
    """Who acts, for the audit log."""
    return Actor(user.name, address(request))


def _remember(request: Request, identity: Identity | None, otherwise: str = _NOBODY) -> Identity:
    if identity is None:
        raise sign_in_needed(otherwise)
    request.state.user = identity.user  # error pages show it too
    return identity


def set_cookie(response: Response, secret: str, public_url: str) -> None:
    """Sign the browser in."""
    secure = public_url.startswith("https://")
    response.set_cookie(
        COOKIE, secret, max_age=int(SESSION_LIFE_S), httponly=True, samesite="lax", secure=secure
    )
