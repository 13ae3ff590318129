"""Which tokens are good now, and what a new one may be. A deploy token is good for git in one repository."""

import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.accounts import SCOPES, add_token, revoke
from hermes.errors import NotFound, UserError
from hermes.repos import may_write
from hermes.tables import Repo, Token, User

DAY_S = 86400.0
#: A deploy token lies on other people's machines: it opens neither pages nor the API.
DEPLOY_SCOPES = {scope: words for scope, words in SCOPES.items() if scope != "all"}
_MAX_NAME = 100
_MAX_LIFE_S = 100 * 365 * DAY_S


@dataclass(frozen=True)
class Wish:
    """What somebody asks for; `life_s` None: until it is revoked."""

    name: str
    scope: str = "all"
    life_s: float | None = None


async def make_token(session: AsyncSession, user: User, wish: Wish, repo: Repo | None = None) -> str:
    """The secret of a new token, with `repo` of a deploy token for it. Raises UserError."""
    if not wish.name.strip() or len(wish.name) > _MAX_NAME or not wish.name.isprintable():
        raise UserError(f"a token needs a name of 1 to {_MAX_NAME} characters", "say where it will be used")
    scopes = SCOPES if repo is None else DEPLOY_SCOPES
    if wish.scope not in scopes:
        kind = "a token" if repo is None else "a deploy token"
        raise UserError(f"{kind} is for {' or '.join(scopes)}, not for {wish.scope[:80]!r}")
    if wish.life_s is not None and not 0 < wish.life_s <= _MAX_LIFE_S:
        raise UserError("a token lives for more than nothing and less than 100 years")
    if repo is not None and wish.scope == "push" and not await may_write(session, user, repo):
        raise UserError(f"{user.name} may not push there, so no token of theirs may")
    repo_id = None if repo is None else repo.id
    return await add_token(
        session, user, wish.name.strip(), scope=wish.scope, life_s=wish.life_s, repo_id=repo_id
    )


def _good() -> ColumnElement[bool]:
    living = or_(Token.expires_at.is_(None), Token.expires_at > time.time())
    return and_(Token.revoked_at.is_(None), living)


async def list_tokens(session: AsyncSession, user: User) -> list[Token]:
    """Everything that signs this user in now, the newest first: also browsers and deploy tokens."""
    found = select(Token).where(Token.user_id == user.id, _good()).order_by(Token.id.desc())
    return list((await session.scalars(found)).all())


async def list_deploy_tokens(session: AsyncSession, repo: Repo) -> list[tuple[Token, str]]:
    """Those of one repository with who made them, the newest first."""
    found = select(Token, User.name).join(User, User.id == Token.user_id)
    rows = await session.execute(found.where(Token.repo_id == repo.id, _good()).order_by(Token.id.desc()))
    return [(token, maker) for token, maker in rows.all()]


async def revoke_deploy_token(session: AsyncSession, repo: Repo, token_id: int) -> None:
    """Whoever made it. Raises NotFound."""
    token = await session.get(Token, token_id)
    if token is None or token.repo_id != repo.id:
        raise NotFound("there is no such deploy token of this repository")
    await revoke(session, await session.get_one(User, token.user_id), token.id)
