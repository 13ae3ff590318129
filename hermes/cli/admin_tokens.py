"""`hermes admin token`: the secrets that act for users, and deploy tokens, which act in one repository."""

import click
from sqlalchemy import select

from hermes.accounts import SCOPES, get_user, revoke
from hermes.audit import OPERATOR, write_down
from hermes.cli.act import Row, as_json, day, fields_of, say, with_database
from hermes.cli.admin_repos import find
from hermes.database import Database
from hermes.errors import NotFound, UserError
from hermes.repos import visible_to
from hermes.tables import Repo, User
from hermes.tokens import DAY_S, Wish, list_tokens, make_token

_FIELDS = ("id", "name", "scope", "created_at", "expires_at", "last_used_at")


@click.group()
def token() -> None:
    """Tokens of accounts."""


@token.command("add")
@click.argument("user_name", metavar="USER")
@click.option("--name", default="made by an operator", help="What the token is for.")
@click.option("--scope", type=click.Choice(list(SCOPES)), help="Default: all; with --repo: read.")
@click.option("--days", type=click.IntRange(1, 36500), help="How long it lives; default: until revoked.")
@click.option("--repo", "where", metavar="OWNER/REPO", default="", help="A deploy token, only for this one.")
def token_add(user_name: str, name: str, scope: str | None, days: int | None, where: str) -> None:
    """Make another token for USER and print it (and nothing else) on stdout."""
    wish = Wish(name, scope or ("read" if where else "all"), days * DAY_S if days else None)

    async def act(database: Database) -> str:
        async with database.write() as session:
            user = await get_user(session, user_name)
            write_down(
                session, OPERATOR, "token made", f"{user_name}: {name}", f"{wish.scope} {where}".strip()
            )
            if not where:
                return await make_token(session, user, wish)
            repo = (await find(session, where)).repo
            if await session.scalar(select(Repo.id).where(Repo.id == repo.id, visible_to(user))) is None:
                hint = f"hermes admin repo collaborator add {where} {user_name}"
                raise UserError(f"{user_name} may not see {where}, so no token of theirs may", hint)
            return await make_token(session, user, wish, repo)

    click.echo(with_database(act))


@token.command("list")
@click.argument("user_name", metavar="USER")
@as_json
def token_list(user_name: str, as_json: bool) -> None:
    """What signs USER in now: tokens, deploy tokens, browsers (scope `session`)."""

    async def act(database: Database) -> list[Row]:
        async with database.read() as session:
            found = await list_tokens(session, await get_user(session, user_name))
            owned = select(Repo.id, User.name, Repo.name).join(User, User.id == Repo.owner_id)
            owned = owned.where(Repo.id.in_({each.repo_id for each in found}))
            repos = {repo_id: f"{owner}/{name}" for repo_id, owner, name in await session.execute(owned)}
            return [fields_of(each, *_FIELDS) | {"repo": repos.get(each.repo_id or 0)} for each in found]

    def line(row: Row) -> str:
        until, used = day(row["expires_at"], "revoked"), day(row["last_used_at"])
        only = f"  only {row['repo']}" if row["repo"] else ""
        return f"{row['id']:5}  {row['scope']:7}  until {until:10}  used {used:10}  {row['name']}{only}"

    say(with_database(act), line, as_json)


@token.command("revoke")
@click.argument("user_name", metavar="USER")
@click.argument("token_id", metavar="ID", type=int)
def token_revoke(user_name: str, token_id: int) -> None:
    """End the token ID (see `hermes admin token list`) of USER, from the next request on."""

    async def act(database: Database) -> None:
        async with database.write() as session:
            user = await get_user(session, user_name)
            try:
                token = await revoke(session, user, token_id)
                write_down(session, OPERATOR, "token revoked", f"{user_name}: {token.name}", token.scope)
            except NotFound:
                words = f"{user_name} has no token {token_id}"
                raise NotFound(words, f"hermes admin token list {user_name}") from None

    with_database(act)
    click.echo(f"token {token_id} of {user_name} revoked")
