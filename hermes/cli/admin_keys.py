"""`hermes admin key`: the public keys that sign users in over SSH."""

from typing import TextIO

import click

from hermes.accounts import get_user
from hermes.audit import OPERATOR, write_down
from hermes.cli.act import Row, as_json, day, fields_of, say, with_database
from hermes.database import Database
from hermes.errors import NotFound
from hermes.ssh_keys import add_key, list_keys, remove_key
from hermes.tables import SshKey

_FIELDS = ("id", "name", "fingerprint", "public_key", "created_at", "last_used_at")


@click.group()
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
            key = await add_key(session, await get_user(session, user_name), text, name)
            write_down(session, OPERATOR, "key added", f"{user_name}: {key.name}", key.fingerprint)
            return key

    made = with_database(act)
    click.echo(f"{made.fingerprint} ({made.name}) signs {user_name} in over SSH")


@key.command("list")
@click.argument("user_name", metavar="USER")
@as_json
def key_list(user_name: str, as_json: bool) -> None:
    """The public keys of USER."""

    async def act(database: Database) -> list[Row]:
        async with database.read() as session:
            found = await list_keys(session, await get_user(session, user_name))
            return [fields_of(each, *_FIELDS) for each in found]

    def line(row: Row) -> str:
        return f"{row['id']:5}  {row['fingerprint']}  used {day(row['last_used_at']):10}  {row['name']}"

    say(with_database(act), line, as_json)


@key.command("remove")
@click.argument("user_name", metavar="USER")
@click.argument("key_id", type=int)
def key_remove(user_name: str, key_id: int) -> None:
    """Let the key KEY_ID (see `hermes admin key list`) sign USER in no more."""

    async def act(database: Database) -> None:
        async with database.write() as session:
            user = await get_user(session, user_name)
            try:
                key = await remove_key(session, user, key_id)
                write_down(session, OPERATOR, "key removed", f"{user_name}: {key.name}", key.fingerprint)
            except NotFound:
                words = f"{user_name} has no key {key_id}"
                raise NotFound(words, f"hermes admin key list {user_name}") from None

    with_database(act)
    click.echo(f"key {key_id} of {user_name} removed")
