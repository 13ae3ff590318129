"""SQLite for SQLAlchemy with one visit to the database's thread a statement; its own dialect makes four.

Each visit wakes two threads, 0.1 to 0.2 ms; what is asked here takes less than that. So a transaction begins
on the visit of its first statement, and nobody waits for the end of one that only read. The rest is the
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
TO_READ, TO_WRITE = "BEGIN", "BEGIN IMMEDIATE"


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


_Work = Callable[[sqlite3.Cursor, str, Any], list[Any]]


def _visit(
    connection: sqlite3.Connection, begin: str, work: _Work, statement: str, parameters: Any
) -> tuple[_Done, list[Any]]:
    """In the database's thread."""
    with closing(connection.cursor()) as cursor:
        if begin:
            cursor.execute(begin)
        rows = work(cursor, statement, parameters)
        return _Done.of(cursor), rows


def _execute(cursor: sqlite3.Cursor, statement: str, parameters: Any) -> list[Any]:
    cursor.execute(statement, parameters or ())
    return cursor.fetchall() if cursor.description else []


def _execute_many(cursor: sqlite3.Cursor, statement: str, parameters: Any) -> list[Any]:
    cursor.executemany(statement, parameters)
    return []


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

    async def _visit(self, work: _Work, operation: Any, parameters: Any) -> None:
        ours: Any = self._adapt_connection
        async with ours._execute_mutex:
            driver: Any = self._connection
            begin = ours.take_begin()
            self._cursor, rows = await driver._execute(
                _visit, driver._conn, begin, work, operation, parameters
            )
            self._rows = deque(rows)


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ("_to_say",)
    _cursor_cls = _Cursor

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self._to_say = ""

    def begin(self, words: str) -> None:
        """To be said before the next statement."""
        self._to_say = words

    def take_begin(self) -> str:
        """What is still to be said."""
        words, self._to_say = self._to_say, ""
        return words

    def commit(self) -> None:
        """Wait until it is on the disk, if anything was asked at all."""
        if not self.take_begin():
            super().commit()

    def rollback(self) -> None:
        """Nobody waits for it, and so nobody is cancelled amid: the next statement simply comes after it."""
        if self.take_begin():
            return
        driver: Any = self._connection
        if driver._connection:
            driver._tx.put_nowait((None, driver._connection.rollback))


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
