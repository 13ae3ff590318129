"""Brings a database to this program's schema, and refuses one that a newer program has written."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, inspect, text

from hermes.database import Database
from hermes.errors import SettingsError

_LOCK = 4_276_215  # PostgreSQL's advisory lock: two processes that start together migrate one after the other
_VERSIONS = Path(__file__).parent / "migrations" / "versions"


class Schema(NamedTuple):
    """What a database has and what this program brings it to; `found` is empty in an empty database."""

    found: str
    head: str
    is_newer: bool


async def migrate(database: Database) -> None:
    """Apply what is missing, in one transaction. Raises SettingsError for a newer schema."""
    async with database.write() as session:
        connection = await session.connection()
        await connection.run_sync(_migrate)


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    schema = compare(_found(connection))
    if schema.is_newer:
        raise SettingsError(
            f"the database was written by a newer Hermes (schema {schema.found}); this program knows schema "
            f"{schema.head}: start the newer program, or restore a backup"
        )
    if schema.found != schema.head:
        from hermes.migrating import upgrade

        upgrade(connection)


async def look_at_schema(database: Database) -> Schema:
    """Without changing it."""
    async with database.read() as session:
        connection = await session.connection()
        return compare(await connection.run_sync(_found))


def _found(connection: Connection) -> str:
    """What Alembic has written down in its table."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "")


def compare(found: str) -> Schema:
    """A schema with this program's."""
    known = revisions()
    return Schema(found, known[-1], bool(found) and found not in known)


@cache
def revisions() -> tuple[str, ...]:
    """The schemas of this program in their order: a migration's file begins with the one that it makes."""
    return tuple(sorted(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py")))
