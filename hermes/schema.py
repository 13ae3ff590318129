"""Brings a database to this program's schema, and refuses one that a newer program has written."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from hermes.database import Database
from hermes.errors import SettingsError

_LOCK = 4_276_215  # PostgreSQL's advisory lock: two processes that start together migrate one after the other


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    try:
        command.upgrade(_config(connection), "head")
    except CommandError:
        head = ScriptDirectory.from_config(_config()).get_current_head()
        found = MigrationContext.configure(connection).get_current_revision()
        raise SettingsError(
            f"the database was written by a newer Hermes (schema {found}); this program knows schema {head}: "
            "start the newer program, or restore a backup"
        ) from None


async def migrate(database: Database) -> None:
    """Apply what is missing, in one transaction. Raises SettingsError for a newer schema."""
    async with database.write() as session:
        connection = await session.connection()
        await connection.run_sync(_upgrade)


class Schema(NamedTuple):
    """What a database has and what this program brings it to; `found` is empty in an empty database."""

    found: str
    head: str
    is_newer: bool


async def look_at_schema(database: Database) -> Schema:
    """Without changing it."""
    async with database.read() as session:
        connection = await session.connection()
        found = await connection.run_sync(
            lambda each: MigrationContext.configure(each).get_current_revision()
        )
    return compare(found or "")


def compare(found: str) -> Schema:
    """A schema with this program's."""
    head, known = _known()
    return Schema(found, head, bool(found) and found not in known)


@cache
def _known() -> tuple[str, frozenset[str]]:
    """The schema of this program, and all that were before it."""
    script = ScriptDirectory.from_config(_config())
    return script.get_current_head() or "", frozenset(each.revision for each in script.walk_revisions())
