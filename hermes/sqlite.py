"""SQLite for SQLAlchemy with one visit to the database's thread a statement; its own dialect makes four.

Each visit wakes two threads, 0.1 to 0.2 ms; what is asked here takes less than that. Everything else is the
`aiosqlite` dialect (https://docs.sqlalchemy.org/en/21/dialects/sqlite.html#module-sqlalchemy.dialects.sqlite.aiosqlite)."""

import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
    SQLiteDialect_aiosqlite,
)

DRIVER = "sqlite+hermes"  # for a URL, instead of `sqlite+aiosqlite`


@dataclass
class _Done:
    """What is left of a cursor: its rows were read and it was closed, all in the database's thread."""

    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None
    arraysize: int = 1

    @classmethod
    def of(cls, cursor: sqlite3.Cursor) -> "_Done":
        return cls(cursor.description, cursor.rowcount, cursor.lastrowid, cursor.arraysize)

    def close(self) -> None:
        """It is."""


def _execute(connection: sqlite3.Connection, statement: str, parameters: Any) -> tuple[_Done, list[Any]]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(statement, parameters or ())
        rows = cursor.fetchall() if cursor.description else []
        return _Done.of(cursor), rows


def _execute_many(connection: sqlite3.Connection, statement: str, parameters: Any) -> tuple[_Done, list[Any]]:
    with closing(connection.cursor()) as cursor:
        cursor.executemany(statement, parameters)
        return _Done.of(cursor), []


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    __slots__ = ()
    _awaitable_cursor_close = False

    def _make_new_cursor(self, connection: Any) -> Any:
        return _Done()

    def _aenter_cursor(self, cursor: Any) -> Any:
        return cursor

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        await self._visit(_execute, operation, parameters)

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> Any:
        await self._visit(_execute_many, operation, seq_of_parameters)

    async def _visit(
        self, work: Callable[..., tuple[_Done, list[Any]]], operation: Any, parameters: Any
    ) -> None:
        async with self._adapt_connection._execute_mutex:
            driver: Any = self._connection
            self._cursor, rows = await driver._execute(work, driver._conn, operation, parameters)
            self._rows = deque(rows)


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ()
    _cursor_cls = _Cursor


class _Driver(AsyncAdapt_aiosqlite_dbapi):
    def connect(self, *arg: Any, **kw: Any) -> AsyncAdapt_aiosqlite_connection:
        """As the original, with our cursors."""
        return _Connection(self, super().connect(*arg, **kw)._connection)


class Dialect(SQLiteDialect_aiosqlite):
    """`sqlite+hermes:///path`."""

    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> AsyncAdapt_aiosqlite_dbapi:
        """Called by SQLAlchemy, once."""
        return _Driver(__import__("aiosqlite"), sqlite3)


registry.register("sqlite.hermes", __name__, "Dialect")
