"""Users and their tokens. A token is shown once; the database keeps only its SHA-256."""

import hashlib
import secrets
import time
from typing import NamedTuple

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.at_once import Ask, as_row
from hermes.columns import Base
from hermes.errors import NotFound, UserError
from hermes.names import check_name
from hermes.tables import Token, User

DEMO_USER = "demo"  # whose account `hermes demo` makes
_PREFIX = "hermes_"
_USED_EVERY_S = 60.0
_USER, _TOKEN = Base.metadata.tables["user"], Base.metadata.tables["token"]
_BY_SECRET = (
    select(_USER, _TOKEN)
    .join_from(_TOKEN, _USER, _TOKEN.c.user_id == _USER.c.id)
    .where(_TOKEN.c.digest == bindparam("digest"), _USER.c.disabled_at.is_(None))
)


SCOPES = {
    "all": "everything you may do: git, pages, API",
    "push": "push and fetch by git",
    "read": "fetch by git",
}


class Identity(NamedTuple):
    """Who asks, and with which token."""

    user: User
    token: Token


def operator() -> User:
    """Who types on the machine itself: an admin without a row."""
    return User(name="", is_admin=True, created_at=0.0)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


async def add_user(session: AsyncSession, name: str, *, is_admin: bool = False) -> User:
    """Make an account. Raises UserError for a bad or a taken name."""
    check_name(name, "user")
    if await find_user(session, name) is not None:
        raise UserError(f"user {name!r} exists", f"for another token: hermes admin token add {name}")
    user = User(name=name, is_admin=is_admin, created_at=time.time())
    session.add(user)
    await session.flush()
    return user


async def find_user(session: AsyncSession, name: str) -> User | None:
    """The account of that name."""
    return (await session.scalars(select(User).where(User.name == name))).first()


async def get_user(session: AsyncSession, name: str) -> User:
    """The account of that name. Raises NotFound."""
    user = await find_user(session, name)
    if user is None:
        raise NotFound(f"there is no user {name[:80]!r}", f"hermes admin user add {name[:80]}")
    return user


async def disable(session: AsyncSession, user: User) -> None:
    """From the next request on nothing signs this account in: no token, key or browser. It keeps all it has,
    and what runs goes on."""
    (await session.get_one(User, user.id)).disabled_at = time.time()


async def enable(session: AsyncSession, user: User) -> None:
    """Its tokens and keys are good again."""
    (await session.get_one(User, user.id)).disabled_at = None


async def add_token(
    session: AsyncSession,
    user: User,
    name: str,
    *,
    scope: str = "all",
    life_s: float | None = None,
    repo_id: int | None = None,
) -> str:
    """Make a token; what is returned is the only copy of the secret. With `repo_id` it is a deploy token:
    good for git in that repository only."""
    secret = _PREFIX + secrets.token_urlsafe(32)
    now = time.time()
    session.add(
        Token(
            user_id=user.id,
            digest=_digest(secret),
            name=name,
            scope=scope,
            repo_id=repo_id,
            created_at=now,
            expires_at=now + life_s if life_s else None,
        )
    )
    await session.flush()
    return secret


def identify(ask: Ask, secret: str, *scopes: str) -> Identity | None:
    """Whose secret this is, if it is valid now and of one of these scopes (none named: `all`)."""
    if not secret.startswith(_PREFIX) or len(secret) > 200:
        return None
    found = ask(_BY_SECRET, digest=_digest(secret))
    if not found:
        return None
    user, token = as_row(User, found[0][: len(_USER.c)]), as_row(Token, found[0][len(_USER.c) :])
    is_over = token.revoked_at or (token.expires_at or time.time() + 1) <= time.time()
    return None if is_over or token.scope not in (scopes or ("all",)) else Identity(user, token)


def is_stale(token: Token) -> bool:
    """Whether `last_used_at` is old enough to be worth a write."""
    return (token.last_used_at or 0) < time.time() - _USED_EVERY_S


async def mark_used(session: AsyncSession, token: Token) -> None:
    """Remember that the token works."""
    await session.execute(update(Token).where(Token.id == token.id).values(last_used_at=time.time()))


async def revoke(session: AsyncSession, user: User, token_id: int) -> Token:
    """End a token of this user, from the next request on. Raises NotFound."""
    token = await session.get(Token, token_id)
    if token is None or token.user_id != user.id or token.revoked_at:
        raise NotFound("there is no such token of yours")
    token.revoked_at = time.time()
    return token
