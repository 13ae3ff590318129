"""`hermes admin`: for the one person who keeps the machine alive. Works with the service running or not."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import TextIO, TypeVar

import click
from sqlalchemy import func, select

from hermes.accounts import add_token, add_user, get_user
from hermes.checks import check_data_directory
from hermes.database import Database
from hermes.schema import migrate
from hermes.settings import load_settings
from hermes.ssh_keys import add_key, list_keys, remove_key
from hermes.tables import Repo, SshKey, User

T = TypeVar("T")


def with_database(act: Callable[[Database], Awaitable[T]]) -> T:
    """Open the instance's database for one act."""

    async def main() -> T:
        settings = load_settings()
        check_data_directory(settings.data)
        database = Database(settings.database)
        try:
            await migrate(database)
            return await act(database)
        finally:
            await database.close()

    return asyncio.run(main())


@click.group()
def admin() -> None:
    """Users and tokens."""


@admin.group()
def user() -> None:
    """Accounts."""


@user.command("add")
@click.argument("name")
@click.option("--admin", "is_admin", is_flag=True, help="May see and change everything.")
def user_add(name: str, is_admin: bool) -> None:
    """Make an account and print its first token (and nothing else) on stdout."""

    async def act(database: Database) -> str:
        async with database.write() as session:
            return await add_token(session, await add_user(session, name, is_admin=is_admin), "first token")

    click.echo(with_database(act))
    click.echo(f"user {name} made; the token above is shown only this once", err=True)


@user.command("list")
@click.option("--json", "as_json", is_flag=True, help="JSON, one array.")
def user_list(as_json: bool) -> None:
    """All accounts."""

    async def act(database: Database) -> list[dict[str, object]]:
        async with database.read() as session:
            repos = select(func.count()).where(Repo.owner_id == User.id).scalar_subquery()
            rows = await session.execute(
                select(User.name, User.is_admin, User.created_at, repos).order_by(User.id)
            )
            return [
                {"name": name, "admin": is_admin, "created_at": created_at, "repos": count}
                for name, is_admin, created_at, count in rows.all()
            ]

    found = with_database(act)
    if as_json:
        click.echo(json.dumps(found))
        return
    for each in found:
        day = time.strftime("%Y-%m-%d", time.gmtime(float(str(each["created_at"]))))
        click.echo(f"{each['name']:20} {day}  {each['repos']} repos{'  admin' if each['admin'] else ''}")


@admin.group()
def token() -> None:
    """Tokens of accounts."""


@token.command("add")
@click.argument("user_name", metavar="USER")
@click.option("--name", default="made by an operator", help="What the token is for.")
def token_add(user_name: str, name: str) -> None:
    """Make another token for USER and print it (and nothing else) on stdout."""

    async def act(database: Database) -> str:
        async with database.write() as session:
            return await add_token(session, await get_user(session, user_name), name)

    click.echo(with_database(act))


@admin.group()
def key() -> None:
    """Public keys of accounts, for git over SSH."""


@key.command("add")
@click.argument("user_name", metavar="USER")
@click.argument("file", type=click.File(), default="-")
@click.option("--name", default="", help="What to call it; default: the comment in the key.")
def key_add(user_name: str, file: TextIO, name: str) -> None:
    """Let the public key in FILE (default: stdin) sign USER in."""
    text = file.read()

    async def act(database: Database) -> SshKey:
        async with database.write() as session:
            return await add_key(session, await get_user(session, user_name), text, name)

    made = with_database(act)
    click.echo(f"{made.fingerprint} ({made.name}) signs {user_name} in over SSH")


@key.command("list")
@click.argument("user_name", metavar="USER")
@click.option("--json", "as_json", is_flag=True, help="JSON, one array.")
def key_list(user_name: str, as_json: bool) -> None:
    """The public keys of USER."""

    async def act(database: Database) -> list[SshKey]:
        async with database.read() as session:
            return await list_keys(session, await get_user(session, user_name))

    found = with_database(act)
    if as_json:
        fields = ("id", "name", "fingerprint", "public_key", "created_at", "last_used_at")
        click.echo(json.dumps([{field: getattr(each, field) for field in fields} for each in found]))
        return
    for each in found:
        click.echo(f"{each.id:5}  {each.fingerprint}  {each.name}")


@key.command("remove")
@click.argument("user_name", metavar="USER")
@click.argument("key_id", type=int)
def key_remove(user_name: str, key_id: int) -> None:
    """Let the key KEY_ID (see `hermes admin key list`) sign USER in no more."""

    async def act(database: Database) -> None:
        async with database.write() as session:
            await remove_key(session, await get_user(session, user_name), key_id)

    with_database(act)
    click.echo(f"key {key_id} removed")
