"""`hermes admin user`: accounts."""

import click
from sqlalchemy import func, select

from hermes.accounts import add_token, add_user, disable, enable, get_user
from hermes.audit import OPERATOR, write_down
from hermes.cli.act import Row, as_json, day, say, with_database
from hermes.database import Database
from hermes.tables import Repo, User


@click.group()
def user() -> None:
    """Accounts."""


@user.command("add")
@click.argument("name")
@click.option("--admin", "is_admin", is_flag=True, help="May see and change everything.")
def user_add(name: str, is_admin: bool) -> None:
    """Make an account and print its first token (and nothing else) on stdout."""

    async def act(database: Database) -> str:
        async with database.write() as session:
            made = await add_user(session, name, is_admin=is_admin)
            write_down(session, OPERATOR, "user made", name, "admin" if is_admin else "")
            return await add_token(session, made, "first token")

    click.echo(with_database(act))
    click.echo(f"user {name} made; the token above is shown only this once", err=True)


@user.command("disable")
@click.argument("name")
def user_disable(name: str) -> None:
    """Let nothing sign NAME in any more: no token, key or browser. It keeps its repositories."""

    async def act(database: Database) -> None:
        async with database.write() as session:
            await disable(session, await get_user(session, name))
            write_down(session, OPERATOR, "user disabled", name)

    with_database(act)
    click.echo(f"{name} is disabled; hermes admin user enable {name}")


@user.command("enable")
@click.argument("name")
def user_enable(name: str) -> None:
    """Let the tokens and keys of NAME sign it in again."""

    async def act(database: Database) -> None:
        async with database.write() as session:
            await enable(session, await get_user(session, name))
            write_down(session, OPERATOR, "user enabled", name)

    with_database(act)
    click.echo(f"{name} may sign in")


@user.command("list")
@as_json
def user_list(as_json: bool) -> None:
    """All accounts."""

    async def act(database: Database) -> list[Row]:
        async with database.read() as session:
            repos = select(func.count()).where(Repo.owner_id == User.id).scalar_subquery()
            rows = await session.execute(
                select(User.name, User.is_admin, User.created_at, User.disabled_at, repos).order_by(User.id)
            )
            return [
                {"name": name, "admin": is_admin, "created_at": made, "disabled_at": disabled, "repos": count}
                for name, is_admin, made, disabled, count in rows.all()
            ]

    def line(row: Row) -> str:
        mark = "  admin" if row["admin"] else ""
        mark += "  disabled" if row["disabled_at"] else ""
        return f"{row['name']:20} {day(row['created_at'])}  {row['repos']} repos{mark}"

    say(with_database(act), line, as_json)
