"""`/api/v1/user`, `/tokens`, `/users`: who asks, what signs them in, and for admins who has an account."""

from typing import Annotated

from pydantic import Field, WithJsonSchema
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.accounts import revoke
from hermes.audit import write_down
from hermes.errors import NotFound
from hermes.manifest import Span
from hermes.tables import Token
from hermes.tokens import Wish, list_tokens, make_token
from web.account_answers import TokenAnswer, TokenMade, TokensAnswer, UserAnswer, UserPage, WhoAnswer
from web.admin import accounts
from web.endpoint import PREFIX, Asked, Endpoint, Id
from web.lookup import places
from web.reading import Body, Query
from web.site import Site

_LIFE = {
    "description": "seconds, or `90s`, `15m`, `1h30m`, `90d`; null: until it is revoked",
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 999999999},
        {"type": "string", "pattern": "^[1-9][0-9]{0,3}[smhd]$"},
        {"type": "null"},
    ],
}


class TokenWish(Body):
    """A token that is to be made."""

    name: Annotated[str, Field(min_length=1, max_length=100, description="where it will be used; printable")]
    scope: Annotated[str, Field(pattern="^(all|push|read)$", description="`all`; by git: `push`, `read`")] = (
        "all"
    )
    expires_in: Annotated[Span | None, WithJsonSchema(_LIFE)] = None


class UsersQuery(Query):
    """A page of them."""

    limit: Annotated[int, Field(ge=1, le=1000, description="how many")] = 100
    after: Annotated[str, Field(max_length=64, description="only names after this one")] = ""


def _shown(token: Token, repos: dict[int, str]) -> TokenAnswer:
    return TokenAnswer(
        id=token.id,
        name=token.name,
        scope=token.scope,
        repo=None if token.repo_id is None else repos[token.repo_id],
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
    )


async def _repos(session: AsyncSession, tokens: list[Token]) -> dict[int, str]:
    """The names of the repositories of deploy tokens."""
    found = await places(session, {token.repo_id for token in tokens if token.repo_id is not None})
    return {repo_id: place.name for repo_id, place in found.items()}


class AccountsApi:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self.database = site.context.database
        self.base = site.context.settings.public_url

    async def get_user(self, asked: Asked) -> WhoAnswer:
        """Who you are, and with which token."""
        return WhoAnswer(name=asked.user.name, is_admin=asked.user.is_admin, token=_shown(asked.token, {}))

    async def list_tokens(self, asked: Asked) -> TokensAnswer:
        """Everything that signs you in: tokens, browsers, deploy tokens."""
        async with self.database.read() as session:
            found = await list_tokens(session, asked.user)
            repos = await _repos(session, found)
        return TokensAnswer(tokens=[_shown(each, repos) for each in found])

    async def make_token(self, asked: Asked, body: TokenWish) -> TokenMade:
        """A new token of yours.

        Its secret is in this answer and nowhere else."""
        wish = Wish(body.name, body.scope, body.expires_in)
        async with self.database.write() as session:
            secret = await make_token(session, asked.user, wish)
            write_down(session, asked.by, "token made", wish.name, wish.scope)
            newest = select(Token).where(Token.user_id == asked.user.id).order_by(Token.id.desc()).limit(1)
            made = (await session.scalars(newest)).one()
        return TokenMade(**_shown(made, {}).model_dump(), token=secret)

    async def revoke_token(self, asked: Asked, token_id: Id) -> None:
        """End a token of yours, from the next request on."""
        async with self.database.write() as session:
            ended = await revoke(session, asked.user, token_id)
            write_down(session, asked.by, "token revoked", ended.name, ended.scope)

    async def list_users(self, asked: Asked, query: UsersQuery) -> UserPage:
        """All accounts by name; for admins."""
        if not asked.user.is_admin:
            raise NotFound("there is no such page")
        async with self.database.read() as session:
            found = await accounts(session, query.after, query.limit + 1)
        users = [
            UserAnswer(
                name=each.user.name,
                is_admin=each.user.is_admin,
                created_at=each.user.created_at,
                disabled_at=each.user.disabled_at,
                repos=each.repos,
                last_run_at=each.last_run_at,
                last_seen_at=each.last_seen_at,
            )
            for each in found[: query.limit]
        ]
        more, address = len(found) > query.limit, f"{self.base}{PREFIX}/users"
        return UserPage(users=users, next=query.following(address, after=users[-1].name) if more else None)


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api = AccountsApi(site)
    return [
        Endpoint("GET", "/user", api.get_user),
        Endpoint("GET", "/tokens", api.list_tokens),
        Endpoint("POST", "/tokens", api.make_token, 201),
        Endpoint("DELETE", "/tokens/{token_id}", api.revoke_token, 204),
        Endpoint("GET", "/users", api.list_users, errors=(404,)),
    ]
