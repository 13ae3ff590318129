"""Who is at the door: HTTP Basic with a token as the password; 401 makes git ask again."""

import base64
import binascii

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hermes.accounts import Identity, identify, is_stale, mark_used
from hermes.errors import Refused
from hermes.process import Context


def ask_for_token() -> Response:
    """401 with words that git shows as `remote: …`."""
    words = "sign in: your user name, and a token as password (hermes admin token add NAME)\n"
    return PlainTextResponse(words, 401, {"WWW-Authenticate": 'Basic realm="hermes", charset="UTF-8"'})


async def who(request: Request, context: Context) -> Identity | None:
    """The identity behind the request; None: ask. Raises Refused when the token is another user's."""
    credentials = _basic(request.headers.get("authorization", ""))
    if credentials is None:
        return None
    name, secret = credentials
    async with context.database.read() as session:
        identity = await identify(session, secret)
    if identity is None:
        return None
    if name and name != identity.user.name:
        raise Refused(
            f"this token belongs to {identity.user.name}, not to {name[:80]}", "correct the remote's URL"
        )
    if is_stale(identity.token):
        async with context.database.write() as session:
            await mark_used(session, identity.token)
    return identity


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic" or len(value) > 2000:
        return None
    try:
        name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name, secret
