"""`hermes admin secret`: secrets of repositories and of users, and the key that encrypts them."""

from pathlib import Path
from typing import TextIO

import click
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.accounts import get_user
from hermes.audit import OPERATOR, write_down
from hermes.cli.act import Row, as_json, day, fields_of, say, with_database
from hermes.cli.admin_repos import find
from hermes.database import Database
from hermes.sealed import Sealed
from hermes.secret_keys import add_key, encrypt_anew, forget_keys, key_file
from hermes.secret_store import Keeping, NewSecret, Secret, list_secrets, remove_secret, set_secret
from hermes.settings import load_settings
from hermes.tables import User

_FIELDS = ("name", "branches", "created_at", "updated_at", "last_used_at")
_whose = click.argument("whose", metavar="OWNER/NAME|USER")


async def _keeping(session: AsyncSession, whose: str) -> Keeping:
    """Raises NotFound."""
    if "/" not in whose:
        return Keeping(await get_user(session, whose))
    repo = (await find(session, whose)).repo
    return Keeping(await session.get_one(User, repo.owner_id), repo)


def _key() -> Path:
    return key_file(load_settings())


@click.group()
def secret() -> None:
    """Secrets that runs of a repository, or of a user, get as variables. No value is ever shown."""


@secret.command("list")
@_whose
@as_json
def secret_list(whose: str, as_json: bool) -> None:
    """The names of the secrets of a repository or a user, their branches, who set them, their last use."""

    async def act(database: Database) -> list[Row]:
        async with database.read() as session:
            found = await list_secrets(session, await _keeping(session, whose))
            return [fields_of(row, *_FIELDS) | {"user": user} for row, user in found]

    def line(row: Row) -> str:
        branches = ", ".join(row["branches"]) or "the default branch"
        times = f"set {day(row['updated_at'])} by {row['user']}, used {day(row['last_used_at'])}"
        return f"{row['name']:30} {times}  {branches}"

    say(with_database(act), line, as_json)


@secret.command("set")
@_whose
@click.argument("name")
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
@click.option(
    "--branch", "branches", multiple=True, help="For this branch or pattern; default: the default one."
)
def secret_set(whose: str, name: str, file: TextIO, branches: tuple[str, ...]) -> None:
    """Make or replace the secret NAME: what FILE holds (default: stdin), without newlines at its end."""
    new = NewSecret(name, _read(file), branches)

    async def act(database: Database) -> bool:
        async with database.write() as session:
            made = await set_secret(session, _key(), await _keeping(session, whose), new)
            write_down(session, OPERATOR, "secret set", whose, " ".join((name, *branches)))
            return made

    words = "made" if with_database(act) else "replaced"
    click.echo(f"{whose}: secret {name} is {words}; the next run that starts gets it")


def _read(file: TextIO) -> str:
    try:
        return file.read()
    except UnicodeDecodeError:
        raise click.UsageError("the value is not text: encode it first, for example with base64") from None


@secret.command("remove")
@_whose
@click.argument("name")
def secret_remove(whose: str, name: str) -> None:
    """Give the secret NAME to no run any more."""

    async def act(database: Database) -> None:
        async with database.write() as session:
            await remove_secret(session, await _keeping(session, whose), name)
            write_down(session, OPERATOR, "secret removed", whose, name)

    with_database(act)
    click.echo(f"{whose}: secret {name} is removed")


@secret.command("rotate-key")
def secret_rotate_key() -> None:
    """Make another key and encrypt all secrets with it. The service may run meanwhile."""
    key = _key()

    async def act(database: Database) -> int:
        add_key(key)
        async with database.write() as session:
            rows: list[Secret | Sealed] = []
            rows += (await session.scalars(select(Secret).with_for_update())).all()
            rows += (await session.scalars(select(Sealed).with_for_update())).all()
            for row in rows:
                row.ciphertext = encrypt_anew(key, row.name, row.ciphertext)
            write_down(session, OPERATOR, "secret key rotated", str(key), f"{len(rows)} secrets")
        return len(rows)

    count = with_database(act)
    forget_keys(key)
    click.echo(f"{count} secrets are encrypted with a new key; {key} is to be backed up again")
