"""What the columns of all tables are made of, on SQLite and on PostgreSQL."""

from typing import Any

from sqlalchemy import BigInteger, Enum, Integer
from sqlalchemy.orm import DeclarativeBase

from hermes.states import State

Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only in an INTEGER key
Words = Enum(State, native_enum=False, length=16, values_callable=lambda states: [s.value for s in states])
Json = dict[str, Any]


class Base(DeclarativeBase):
    """Root of all tables."""

    type_annotation_map = {int: Id, State: Words}  # noqa: RUF012  (SQLAlchemy's own name)
