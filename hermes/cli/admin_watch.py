"""`hermes admin watch`: folders of this machine whose new files start runs."""

import os
import time
from pathlib import Path

import click
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.accounts import get_user
from hermes.audit import OPERATOR, write_down
from hermes.cli.act import Row, as_json, fields_of, instance_paths, say, with_database
from hermes.database import Database
from hermes.errors import UserError
from hermes.functions import find_function, parse_function
from hermes.plan import Plan
from hermes.tables import User, Watch


@click.group()
def watch() -> None:
    """Folders whose new files start runs."""


@watch.command("add")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("function", metavar="OWNER/NAME[:VERSION]")
@click.option("--as", "user_name", metavar="USER", default="", help="Whose runs they are; default: OWNER's.")
@click.option("--out", type=click.Path(path_type=Path), help="Where outputs go; default: FOLDER.out.")
def watch_add(folder: Path, function: str, user_name: str, out: Path | None) -> None:
    """Let each file that is put into FOLDER and matches `on.upload` start a run, also what is there now.

    Files stay where they are; a file that changes starts another run. The service sees the folder within
    seconds, and has to be allowed to read it and to write to FOLDER.out."""
    place = _place(folder)
    beside = (out or Path(f"{place}.out")).absolute()
    _check_apart(place, beside)

    async def act(database: Database) -> str:
        async with database.write() as session:
            user = await get_user(session, user_name or parse_function(function).owner)
            patterns = await _patterns(session, user, function)
            row = (await session.scalars(select(Watch).where(Watch.folder == str(place)))).first()
            if row is None:
                row = Watch(folder=str(place), created_at=time.time())
                session.add(row)
            row.function, row.user_id, row.out = function, user.id, str(beside)
            row.error, row.removed_at = "", None
            write_down(session, OPERATOR, "folder watched", str(place), f"{function} as {user.name}")
        return f"files like {' '.join(patterns)} in {place} start {function} as {user.name}"

    click.echo(with_database(act))
    click.echo(f"what comes of them: {beside}", err=True)


@watch.command("list")
@as_json
def watch_list(as_json: bool) -> None:
    """All of them, and why nothing is taken from one."""

    async def act(database: Database) -> list[Row]:
        async with database.read() as session:
            query = select(Watch, User.name).join(User, User.id == Watch.user_id)
            rows = await session.execute(query.where(Watch.removed_at.is_(None)).order_by(Watch.folder))
            return [
                fields_of(row, "folder", "function", "out", "error", "created_at") | {"user": name}
                for row, name in rows.all()
            ]

    def line(row: Row) -> str:
        trouble = f"  NOTHING IS TAKEN: {row['error']}" if row["error"] else ""
        return f"{row['folder']}  {row['function']} as {row['user']}, outputs in {row['out']}{trouble}"

    say(with_database(act), line, as_json)


@watch.command("remove")
@click.argument("folder", type=click.Path(path_type=Path))
def watch_remove(folder: Path) -> None:
    """Take nothing more from FOLDER. Should it come back, what was taken is not taken again."""

    async def act(database: Database) -> None:
        async with database.write() as session:
            named = select(Watch).where(Watch.folder == str(folder.absolute()), Watch.removed_at.is_(None))
            row = (await session.scalars(named)).first()
            if row is None:
                raise UserError(f"{folder.absolute()} is not watched", "hermes admin watch list")
            row.removed_at = time.time()
            write_down(session, OPERATOR, "folder watched", row.folder, "no more")

    with_database(act)
    click.echo(f"{folder.absolute()} is not watched any more")


def _place(folder: Path) -> Path:
    """Raises UserError for what is no folder, or leads to one elsewhere."""
    place = folder.absolute()
    if not place.is_dir():
        raise UserError(f"{place} is no folder on this machine", "make it first")
    if place.resolve() != Path(os.path.normpath(place)):
        raise UserError(f"{place} leads to {place.resolve()}", "name that one: links are not followed")
    return place.resolve()


def _check_apart(place: Path, beside: Path) -> None:
    """Raises UserError where outputs or our own files would be new files themselves."""
    data = instance_paths().root.absolute().resolve()
    for one, words in ((beside, "outputs"), (data, "the data of the service")):
        if one == place or one.is_relative_to(place):
            raise UserError(f"{words} would lie in the watched folder: {one}", "choose another one")
    if place.is_relative_to(data):
        raise UserError(f"{place} is the service's own", "choose another one")


async def _patterns(session: AsyncSession, user: User, function: str) -> list[str]:
    found = await find_function(session, user, parse_function(function), instance_paths())
    plan = Plan.model_validate(found.build.plan)
    if not plan.uploads:
        raise UserError(
            f"{function} takes no uploads: its manifest has no on.upload",
            'add `[on]` with `upload = "*"` (or a pattern such as "*.png") to hermes.toml and push',
        )
    return plan.uploads
