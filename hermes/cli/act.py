"""One act of an operator on an instance's database and files; how its outcome is said."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import click

from hermes.checks import check_data_directory
from hermes.database import Database
from hermes.paths import Paths
from hermes.schema import migrate
from hermes.settings import load_settings

T = TypeVar("T")
Row = dict[str, Any]
as_json = click.option("--json", "as_json", is_flag=True, help="JSON instead of lines.")


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


def instance_paths() -> Paths:
    """Where the files of the instance lie."""
    return Paths(load_settings().data)


def say(rows: Sequence[Row], line: Callable[[Row], str], in_json: bool) -> None:
    """A list: an array for programs, a line each for people."""
    if in_json:
        click.echo(json.dumps(list(rows)))
        return
    for row in rows:
        click.echo(line(row))


def fields_of(row: object, *names: str) -> Row:
    """Some columns of a table's row."""
    return {name: getattr(row, name) for name in names}


def day(at: float | None, otherwise: str = "never") -> str:
    """`2026-11-21`."""
    return otherwise if at is None else time.strftime("%Y-%m-%d", time.gmtime(at))
