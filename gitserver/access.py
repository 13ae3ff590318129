"""Who is at the door, and what they may do there: the same for HTTP and SSH.

HTTP Basic with a token as the password; 401 makes git ask again, and only when asking can help."""

import base64
import binascii
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hermes.accounts import Identity, identify
from hermes.at_once import Ask, ask_in
from hermes.errors import NotFound, Refused, UserError
from hermes.git import init_bare
from hermes.login import count_failure, used
from hermes.process import Context
from hermes.repos import check_writable, find_managed, find_repo, get_or_make_writable, get_readable
from hermes.tables import Repo, User
from hermes.threads import in_thread
from hermes.throttle import source

_SCOPES = ("all", "push", "read")


class SignInNeeded(UserError):
    """Nobody said who they are, and it matters."""

    code = "unauthorized"
    status = 401


@dataclass(frozen=True)
class Caller:
    """Who asks: a user (None: nobody signed in), what their token is good for, where they are."""

    user: User | None
    scope: str = "all"
    repo_id: int | None = None  # a deploy token's
    address: str = ""

    @property
    def key(self) -> str:
        """For what is counted per user."""
        return self.user.name if self.user else f"address {source(self.address)}"


def ask_for_token() -> Response:
    """401 with words that git shows as `remote: …`."""
    words = "sign in: your user name, and a token as password (hermes admin token add NAME)\n"
    return PlainTextResponse(words, 401, {"WWW-Authenticate": 'Basic realm="hermes", charset="UTF-8"'})


async def enter(
    request: Request, context: Context, owner: str, name: str, *, writes: bool
) -> tuple[Caller, Repo]:
    """Who asks over HTTP, and the repo, if they may read or write it; everything that git does begins with
    it. Raises SignInNeeded, TooMany, NotFound or Refused."""
    if mine := await _at_home(request, context, owner, name):
        return mine
    async with context.database.read() as session:
        caller, identity = await _who(session, request, context)
        find = _writable if writes else _readable
        repo = await find(session, context, caller, owner, name)
    if identity is not None:
        await used(context, identity)
    return caller, await _made(context, caller, owner, name) if repo is None else repo


async def _at_home(request: Request, context: Context, owner: str, name: str) -> tuple[Caller, Repo] | None:
    """Mostly somebody's full token meets a repository of their own: seen by two fixed statements. None: it is
    not so, or something is wrong, and has to be looked at more closely."""
    claimed, secret = _basic(request.headers.get("authorization", "")) or ("", "")

    def look(ask: Ask) -> tuple[Identity, Repo] | None:
        identity = identify(ask, secret, "all", "push")
        if identity is None or identity.token.repo_id is not None or claimed not in ("", identity.user.name):
            return None
        repo = find_managed(ask, identity.user, owner, name)
        return None if repo is None else (identity, repo)

    found = await context.database.read_at_once(look) if secret else None
    if found is None or not context.paths.repo(found[1].id).exists():
        return None
    identity, repo = found
    await used(context, identity)
    return Caller(identity.user, identity.token.scope, None, _address(request)), repo


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


async def _who(session: AsyncSession, request: Request, context: Context) -> tuple[Caller, Identity | None]:
    """Raises SignInNeeded for a wrong token, TooMany for many of them, Refused for another user's."""
    address = _address(request)
    header = request.headers.get("authorization")
    if header is None:
        return Caller(None, address=address), None
    credentials = _basic(header)
    if credentials is None:
        count_failure(context, address)
        raise SignInNeeded("credentials that cannot be read")
    name, secret = credentials
    identity = await session.run_sync(lambda plain: identify(ask_in(plain), secret, *_SCOPES))
    if identity is None:
        count_failure(context, address, name[:80])
        raise SignInNeeded("this token is not valid (any more)")
    user, token = identity
    if name and name != user.name and token.repo_id is None:
        raise Refused(f"this token belongs to {user.name}, not to {name[:80]}", "correct the remote's URL")
    return Caller(user, token.scope, token.repo_id, address), identity


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic" or len(value) > 2000:
        return None
    try:
        name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name, secret


async def readable(context: Context, caller: Caller, owner: str, name: str) -> Repo:
    """The repo to fetch from. Raises NotFound; SignInNeeded instead when nobody is signed in, so that a
    stranger cannot tell a hidden repository from one that does not exist."""
    async with context.database.read() as session:
        return await _readable(session, context, caller, owner, name)


async def writable(context: Context, caller: Caller, owner: str, name: str) -> Repo:
    """The repo to push to; its owner's first push makes it. Raises SignInNeeded, NotFound or Refused."""
    async with context.database.read() as session:
        repo = await _writable(session, context, caller, owner, name)
    return await _made(context, caller, owner, name) if repo is None else repo


async def _readable(session: AsyncSession, context: Context, caller: Caller, owner: str, name: str) -> Repo:
    try:
        if caller.user is None and context.settings.anonymous == "none":
            raise NotFound("there is nothing without an account")
        repo = await get_readable(session, caller.user, owner, name)
        _check_deploy_token(caller, repo, owner, name)
    except NotFound:
        if caller.user is None:
            raise SignInNeeded("sign in to see it") from None
        raise
    return repo


async def _writable(
    session: AsyncSession, context: Context, caller: Caller, owner: str, name: str
) -> Repo | None:
    """None: it is still to be made."""
    if caller.user is None:
        raise SignInNeeded("sign in to push")
    if caller.scope == "read":
        await _readable(session, context, caller, owner, name)
        raise Refused("this token is only for fetching", "push with a token of the scope push or all")
    repo = await find_repo(session, owner, name)
    _check_deploy_token(caller, repo, owner, name)
    if repo is None or not context.paths.repo(repo.id).exists():
        return None
    await check_writable(session, caller.user, repo, owner, name)
    return repo


async def _made(context: Context, caller: Caller, owner: str, name: str) -> Repo:
    """The row and the bare repository of a first push."""
    assert caller.user is not None
    context.room.require()
    async with context.database.write() as session:
        repo = await get_or_make_writable(session, caller.user, owner, name)
    path = context.paths.repo(repo.id)
    if not path.exists():
        await in_thread(init_bare, path)
    return repo


def _check_deploy_token(caller: Caller, repo: Repo | None, owner: str, name: str) -> None:
    if caller.repo_id is not None and (repo is None or repo.id != caller.repo_id):
        raise NotFound(f"there is no repository {owner[:80]}/{name[:80]} that this token is for")
