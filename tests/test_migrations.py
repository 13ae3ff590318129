"""Migrations: killed at each statement they leave the database as it was, and the next start does it all; an
older program refuses what a newer one has written."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, create_engine, insert, select

from hermes.migrating import config
from hermes.schema import revisions
from tests.service import Service
from tests.test_faults import complaint

SCRIPTS = list(reversed(list(ScriptDirectory.from_config(config()).walk_revisions())))
ROWS = [(each.revision, each.down_revision) for each in SCRIPTS]


class Content(NamedTuple):
    """All that a database says."""

    schema: list[tuple[Any, ...]]
    rows: dict[str, list[tuple[Any, ...]]]

    @property
    def version(self) -> str:
        """Of its schema."""
        found = self.rows.get("alembic_version") or [("",)]
        return str(found[0][0])


class Victim:
    """The process that migrates and is killed."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.migration_victim"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def migrate(self, path: Path, kill_at: int | None = None) -> list[str]:
        """What it asked of the database, up to its end or its death."""
        assert self._process.stdin is not None and self._process.stdout is not None
        url = f"sqlite+aiosqlite:///{path}"
        self._process.stdin.write(json.dumps({"url": url, "kill_at": kill_at}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["signal"] == (0 if kill_at is None else signal.SIGKILL), (kill_at, answer)
        statements: list[str] = answer["statements"]
        assert kill_at is None or len(statements) == kill_at
        return statements

    def close(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with closing(Victim()) as one:
        yield one


@pytest.fixture(scope="module")
def newest(victim: Victim, tmp_path_factory: pytest.TempPathFactory) -> Content:
    """The schema that this program makes of nothing."""
    path = tmp_path_factory.mktemp("newest") / "hermes.db"
    victim.migrate(path)
    return content(path)


def content(path: Path) -> Content:
    """Of a database that is whole."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        found = database.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        tables = [name for kind, name, _ in found if kind == "table"]
        parts = [(kind, name, sorted(clauses(sql))) for kind, name, sql in found]  # their order is chance
        rows = {name: database.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables}
        return Content(parts, rows)


def clauses(sql: str | None) -> list[str]:
    """Of what makes a table, a line each."""
    return [line.strip(" ,\t") for line in (sql or "").splitlines()]


def older(path: Path, revision: str | None) -> Content:
    """As a program that knew no more than this revision has left it: with a row in each table."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        if revision is not None:
            command.upgrade(config(connection), revision)
            fill(connection)
    engine.dispose()
    with closing(sqlite3.connect(path)) as database:  # the mode is kept in the file
        database.execute("PRAGMA journal_mode=WAL")
    return content(path)


def fill(connection: Connection) -> None:
    """The first row of each table; all of them belong together."""
    found = MetaData()
    found.reflect(connection)
    for table in found.sorted_tables:
        if connection.execute(select(table)).first() is None:  # else a migration has made one
            connection.execute(insert(table), [{each.name: value(each) for each in table.columns}])


def value(column: "Column[Any]") -> object:
    """One that this column takes."""
    kind = str(column.type).partition("(")[0]
    if column.primary_key or column.foreign_keys:
        return "x" if kind == "VARCHAR" else 1
    given = {"state": "queued", "kind": "rank"}
    plain = {"VARCHAR": "x", "BOOLEAN": False, "JSON": {}, "DOUBLE": 2.5, "INTEGER": 1, "BIGINT": 1}
    return given.get(column.name, plain[kind])


@pytest.mark.fault(42)
@pytest.mark.parametrize(("revision", "before"), ROWS, ids=[row[0] for row in ROWS])
def test_migration_that_is_killed_at_any_statement_has_changed_nothing_and_is_done_by_the_next_start(
    victim: Victim, newest: Content, tmp_path: Path, revision: str, before: str | None
) -> None:
    path, whole = tmp_path / "hermes.db", tmp_path / "whole.db"
    was, _ = older(path, before), older(whole, before)
    statements = victim.migrate(whole)
    assert content(whole).schema == newest.schema
    own = next(at for at, each in enumerate(statements) if is_mark(each, revision)) + 2
    last = len(statements) - 1  # the commit is before it
    for kill_at in [*range(min(own, last - 1)), last - 1]:
        victim.migrate(path, kill_at)
        assert content(path) == was, statements[kill_at]
    victim.migrate(path, last)
    after = content(path)
    assert after.schema == newest.schema and after.version == SCRIPTS[-1].revision
    assert after.rows == content(whole).rows
    assert {table: len(rows) for table, rows in was.rows.items()}.items() <= {
        table: len(rows) for table, rows in after.rows.items()
    }.items()


def test_files_of_migrations_are_named_as_what_they_make() -> None:
    assert revisions() == tuple(each.revision for each in SCRIPTS)


def is_mark(statement: str, revision: str) -> bool:
    """Whether this is where Alembic writes down that a migration is done."""
    return re.match(rf"(UPDATE|INSERT INTO) alembic_version .*'{revision}'", statement) is not None


ENTRIES = [("hermes", "admin", "user", "list"), ("hermes.serve",), ("builder",), ("runner",)]


@pytest.mark.fault(42)
@pytest.mark.parametrize("entry", ENTRIES, ids=" ".join)
def test_older_program_refuses_what_a_newer_one_has_written_and_leaves_it_alone(
    tmp_path: Path, entry: tuple[str, ...]
) -> None:
    one = Service(tmp_path / "var", {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none"})
    one.add_user("ada")
    path = one.data / "hermes.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.execute("CREATE TABLE of_the_future (id INTEGER PRIMARY KEY)")
    was = content(path)
    words = complaint(one, *entry)
    newest = SCRIPTS[-1].revision
    assert f"written by a newer Hermes (schema 9999); this program knows schema {newest}: start" in words
    assert content(path) == was
