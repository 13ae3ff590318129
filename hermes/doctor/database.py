"""The database: whether it answers, whether it is this program's, and whether it is whole."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from hermes.database import Database
from hermes.doctor.data import sqlite_file
from hermes.doctor.findings import Finding, Look, first_line, note, ok, problem, warning
from hermes.errors import HermesError
from hermes.schema import look_at_schema
from hermes.settings import Settings
from hermes.threads import in_thread
from hermes.units import show_size

_CHECK_S = 4.0  # a gigabyte takes about as long
_PROGRESS_EVERY = 100_000  # instructions of SQLite's machine
_RESTORE = "stop the service, keep a copy of the data directory, restore the last backup"


async def look_at_database(settings: Settings) -> Look[Database]:
    """The facts are the database, when its rows can be read; who gets it closes it."""
    file = sqlite_file(settings)
    if file is not None and not await in_thread(file.is_file):  # opening it would make it
        return Look([note("database", f"there is none at {file} yet", "hermes up makes it")])
    database = Database(settings.database)
    look = await _look(database, file)
    if look.facts is None:
        await database.close()
    return look


async def _look(database: Database, file: Path | None) -> Look[Database]:
    where = file or database.url.render_as_string(hide_password=True)
    try:
        schema = await look_at_schema(database)
    except (HermesError, SQLAlchemyError, OSError) as error:
        step = "systemctl status postgresql, and HERMES_DATABASE_URL" if file is None else _RESTORE
        return Look([problem("database", f"{where}: {first_line(error)}", step)])
    if schema.is_newer:
        found = f"a newer Hermes has written it: schema {schema.found}, this program knows {schema.head}"
        return Look([problem("database", found, "start the newer program, or restore a backup")])
    if schema.found != schema.head:
        found = f"schema {schema.found or 'none'} is older than this program's {schema.head}"
        return Look([note("database", found, "hermes up brings it up to date; make a backup first")])
    if file is None:
        return Look([ok("database", f"{where}, schema {schema.head}")], database)
    whole = await in_thread(_integrity, file)
    return Look([ok("database", f"{file}, {_size(file)}, schema {schema.head}"), whole], database)


def _size(file: Path) -> str:
    return show_size(file.stat().st_size)


def _integrity(file: Path) -> Finding:
    """SQLite's own quick check, for a few seconds at most."""
    deadline = time.monotonic() + _CHECK_S
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_EVERY)
            words = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        if "interrupted" in str(error):
            found = f"the check of {_size(file)} takes longer than {_CHECK_S:.0f} s and was left"
            return note("integrity", found, f"sqlite3 {file} 'PRAGMA quick_check'")
        if isinstance(error, sqlite3.OperationalError):
            return warning("integrity", f"not checked: {first_line(error)}", "run this once more")
        words = str(error)
    if words != "ok":
        return problem("integrity", f"the database is damaged: {' '.join(words.split())[:160]}", _RESTORE)
    return ok("integrity", "PRAGMA quick_check: ok")
