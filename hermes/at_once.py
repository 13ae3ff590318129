"""Transactions of a few fixed statements, on SQLite in one visit to a thread: what every push does.

SQLAlchemy's units of work are two milliseconds of a small push each; its statements are kept, put together
once for the life of the process, and mean the same inside a larger transaction and on PostgreSQL."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import cache, partial
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy.dialects.sqlite.pysqlite import dialect as sqlite_dialect
from sqlalchemy.engine import Connection, CursorResult
from sqlalchemy.orm import Session, make_transient_to_detached
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.types import TypeEngine

from hermes.columns import Base
from hermes.threads import in_thread

T = TypeVar("T")
R = TypeVar("R", bound=Base)
Rows = Sequence[Sequence[Any]]
_MOST_AT_REST = 8
_SQLITE = sqlite_dialect()


class Ask(Protocol):
    """Executes a fixed statement, a constant of its module, with these values."""

    def __call__(self, statement: Executable, **values: Any) -> Rows:
        """Its rows; none, if it returns none."""


def ask_in(transaction: Connection | Session) -> Ask:
    """For what belongs into a transaction of SQLAlchemy's."""

    def ask(statement: Executable, **values: Any) -> Rows:
        result = transaction.execute(statement, values)
        returns_none = isinstance(result, CursorResult) and not result.returns_rows
        return () if returns_none else result.all()

    return ask


def as_row(kind: type[R], values: Sequence[Any]) -> R:
    """All columns of a table as its object, which belongs to no session."""
    row = kind(**dict(zip(_names(kind), values, strict=True)))
    make_transient_to_detached(row)
    return row


@cache
def _names(kind: type[Base]) -> tuple[str, ...]:
    return tuple(kind.__table__.columns.keys())


class Visits:
    """Plain connections to an SQLite file, each used by one thread at a time; `prepare` makes them ready."""

    def __init__(self, path: str, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._path, self._prepare = path, prepare
        self._at_rest: list[sqlite3.Connection] = []
        self._closed = False

    async def visit(self, begin: str, work: Callable[[Ask], T]) -> T:
        """One transaction: from `begin` to its commit, or undone if `work` raises. Who is cancelled meanwhile
        does not wait for its end, which comes all the same."""
        return await in_thread(copy_context().run, self._visit, begin, work)

    def close(self) -> None:
        """No more."""
        self._closed = True
        while self._at_rest:
            self._at_rest.pop().close()

    def _visit(self, begin: str, work: Callable[[Ask], T]) -> T:
        connection = self._take()
        try:
            connection.execute(begin)
            done = work(partial(_ask, connection))
            connection.execute("COMMIT")
            return done
        finally:
            if connection.in_transaction:
                connection.rollback()
            self._put_back(connection)

    def _take(self) -> sqlite3.Connection:
        with suppress(IndexError):
            return self._at_rest.pop()
        connection = sqlite3.connect(self._path, check_same_thread=False)
        self._prepare(connection)
        return connection

    def _put_back(self, connection: sqlite3.Connection) -> None:
        if self._closed or len(self._at_rest) >= _MOST_AT_REST:
            connection.close()
        else:
            self._at_rest.append(connection)


class _Fixed(NamedTuple):
    """A statement in SQLite's own words."""

    text: str
    names: tuple[str, ...]  # of its parameters, in order
    given: Mapping[str, Any]  # constants that stand in the statement
    into: Mapping[str, Callable[[Any], Any]]  # what turns a value into SQLite's
    out: tuple[Callable[[Any], Any] | None, ...]  # and a column back


@cache
def _fixed(statement: ClauseElement, names: tuple[str, ...]) -> _Fixed:
    compiled: Any = statement.compile(dialect=_SQLITE, column_keys=list(names))
    assert not compiled.insert_prefetch and not compiled.update_prefetch, (
        "a column's default is not asked here"
    )
    into = {name: _kind(bind.type).bind_processor(_SQLITE) for name, bind in compiled.binds.items()}
    columns: Any = statement
    out = tuple(_kind(each.type).result_processor(_SQLITE, None) for each in columns.exported_columns)
    return _Fixed(
        str(compiled),
        tuple(compiled.positiontup),
        compiled.params,
        {name: change for name, change in into.items() if change is not None},
        out,
    )


def _kind(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    return kind.dialect_impl(_SQLITE)


def _ask(connection: sqlite3.Connection, statement: Any, **values: Any) -> Rows:
    fixed = _fixed(statement, tuple(values))
    all_values = {**fixed.given, **values}
    parameters = [
        fixed.into[name](all_values[name]) if name in fixed.into else all_values[name] for name in fixed.names
    ]
    rows = connection.execute(fixed.text, parameters).fetchall()
    if not any(fixed.out):
        return rows
    return [
        [value if back is None else back(value) for value, back in zip(row, fixed.out, strict=True)]
        for row in rows
    ]
