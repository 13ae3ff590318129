"""`hermes admin backup` and `hermes admin restore`: an instance as it was at one moment, whole."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hermes.backup.restore import Restore
from hermes.backup.source import open_source
from hermes.backup.take import Report, Take, Wanted
from hermes.backup.target import open_target
from hermes.checks import check_data_directory
from hermes.cli.act import as_json
from hermes.errors import UserError
from hermes.settings import load_settings
from hermes.units import show_size, show_span

_SHOWN = 10


@click.command()
@click.argument("dest")
@click.option(
    "--with-keys", is_flag=True, help="Also the keys: who has the backup can then read all secrets."
)
@click.option("--without-database", is_flag=True, help="Files only; PostgreSQL was dumped before.")
@as_json
def backup(dest: str, with_keys: bool, without_database: bool, as_json: bool) -> None:
    """Copy this instance to DEST while it runs: a new folder, a new file.tar, or - for a tar on stdout."""
    settings = load_settings()
    check_data_directory(settings.data)
    wanted = Wanted(with_keys, not without_database)
    with _disk_in_words(dest), open_target(dest, settings.data) as target:
        report = asyncio.run(Take(settings, target, wanted, _say).all())
    if as_json and dest != "-":
        click.echo(json.dumps(asdict(report) | {"dest": dest}))
    for words in _remarks(report, wanted):
        _say(words)
    if report.damaged:
        raise UserError(
            f"{_names(report.damaged)} had been damaged before; the backup has them as they are",
            "take them from an older backup, and look at the disk: dmesg, smartctl -a",
        )
    _say(f"backup of {show_size(report.size_bytes)} in {show_span(report.seconds)}: {dest}")


def _remarks(report: Report, wanted: Wanted) -> Iterator[str]:
    if report.missing:
        yield f"note: rows name files that are not there: {_names(report.missing)}"
    if not wanted.keys:
        yield "note: no key is in it; keep secret_key and the others in another place (--with-keys)"
    if not wanted.database:
        yield "note: the database is not in it; keep the dump of PostgreSQL with it"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


@click.command()
@click.argument("source", metavar="FROM", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="The new, empty data directory.")
@as_json
def restore(source: Path, data: Path, as_json: bool) -> None:
    """Make a data directory of the backup FROM; every file is compared with its checksum."""
    with _disk_in_words(str(data)), open_source(source) as opened:
        info = Restore(opened, data, _say).all()
    if as_json:
        click.echo(json.dumps(info | {"data": str(data)}))
    for words in _next_steps(info, data):
        _say(words)


def _next_steps(info: dict[str, Any], data: Path) -> Iterator[str]:
    if not info["keys"]:
        yield f"note: no key was in it: put secret_key into {data}, else secrets have to be set anew"
    if not info["database"]:
        yield "note: no database was in it: pg_restore it, and set HERMES_DATABASE_URL"
    yield f"restored; now: HERMES_DATA={data} hermes up"


def _say(words: str) -> None:
    click.echo(words, err=True)


@contextmanager
def _disk_in_words(place: str) -> Iterator[None]:
    """Raises UserError for what the file system says."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        what = error.strerror or error if isinstance(error, OSError) else error
        raise UserError(
            f"{place}: {what}; nothing is left of what was begun",
            f"make room there, or choose another place than {place}",
        ) from None
