"""Alembic, which takes long to import: only a database of another schema needs it (`hermes.schema`)."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

FOLDER = Path(__file__).parent / "migrations"


def config(connection: Connection | None = None) -> Config:
    """Where the migrations are, and what they are applied to."""
    made = Config()
    made.set_main_option("script_location", str(FOLDER))
    made.attributes["connection"] = connection
    return made


def upgrade(connection: Connection) -> None:
    """To this program's schema."""
    command.upgrade(config(connection), "head")
