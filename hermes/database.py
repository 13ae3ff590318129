"""The truth: one asynchronous engine with a reading and a writing transaction, SQLite or PostgreSQL.

On SQLite every writing transaction begins IMMEDIATE: a deferred one that reads before it writes fails
with "database is locked" under load whatever the time-out says. What is acknowledged is on disk
(`synchronous=FULL`).
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from hermes.at_once import Ask, Visits, ask_in
from hermes.errors import Unavailable
from hermes.sqlite import DRIVER, TO_READ, TO_WRITE

T = TypeVar("T")
K = TypeVar("K", int, str)
_BUSY_TIMEOUT_MS = 10_000
_PORTION = 400
#: Connections, resources, an operator's hand: https://www.postgresql.org/docs/current/errcodes-appendix.html
_AWAY = ("08", "53", "57")


def portions(ids: Collection[K]) -> Iterator[list[K]]:
    """As many as one statement may name."""
    rows = sorted(ids)
    return (rows[at : at + _PORTION] for at in range(0, len(rows), _PORTION))


class Database:
    """Opens transactions: `async with db.read() as session`, `async with db.write() as session`."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _engine(url, self.is_sqlite)
        writer = self.engine.execution_options(hermes_write=True)
        self._reader_session = async_sessionmaker(self.engine, expire_on_commit=False)
        self._writer_session = async_sessionmaker(writer, expire_on_commit=False)
        self._one_writer: asyncio.Lock | nullcontext[None] = (
            asyncio.Lock() if self.is_sqlite else nullcontext()
        )  # waiting here is fair and free; SQLite's own waiting is neither
        self._visits = Visits(self.url.database or "", _prepare_sqlite) if self.is_sqlite else None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A transaction that sees one state of the world and changes nothing."""
        async with _translated(), self._reader_session() as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction that commits when the block ends, and rolls back when it raises."""
        async with _translated(), self._one_writer, self._writer_session.begin() as session:
            yield session

    async def read_at_once(self, work: Callable[[Ask], T]) -> T:
        """As `read`, for a few fixed statements that `work` asks in a thread."""
        async with _translated():
            return await self._at_once(TO_READ, work)

    async def write_at_once(self, work: Callable[[Ask], T]) -> T:
        """As `write`, for a few fixed statements. They are committed when this returns; who is cancelled does
        not know."""
        async with _translated(), self._one_writer:
            return await self._at_once(TO_WRITE, work)

    async def _at_once(self, begin: str, work: Callable[[Ask], T]) -> T:
        if self._visits is not None:
            return await self._visits.visit(begin, work)
        async with self.engine.begin() as connection:
            return await connection.run_sync(lambda plain: work(ask_in(plain)))

    async def close(self) -> None:
        """Give the connections back."""
        if self._visits is not None:
            self._visits.close()
        await self.engine.dispose()


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except Exception as error:
        if not _is_away(error):
            raise
        raise Unavailable(f"the database does not answer: {_first_line(error)}") from error


def _is_away(error: Exception) -> bool:
    """Also a PostgreSQL that is starting, stopping or full, which drivers have no kind of error for; of one
    that takes no connections asyncpg's own error comes through."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    if str(getattr(origin, "sqlstate", None) or "").startswith(_AWAY):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | InterfaceError | sqlite3.OperationalError | OSError)


def _first_line(error: Exception) -> str:
    origin = error.orig if isinstance(error, DBAPIError) else error
    return str(origin).partition("\n")[0]


def _engine(url: str, is_sqlite: bool) -> AsyncEngine:
    if not is_sqlite:
        return create_async_engine(url, pool_pre_ping=True, pool_size=10)
    if path := make_url(url).database:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(make_url(url).set(drivername=DRIVER), pool_size=8, max_overflow=24)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    event.listen(engine.sync_engine, "invalidate", _give_up_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any = None) -> None:
    connection.isolation_level = None  # the driver would begin deferred transactions by itself
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _give_up_sqlite(connection: Any, _record: Any, _error: BaseException | None) -> None:
    """A transaction was cancelled amid a statement. SQLAlchemy then only closes the connection, and SQLite
    keeps a closed connection, with its lock on the database, as long as any statement of it is in memory:
    nobody else could write. So it is rolled back first, in the order of the connection's own thread."""
    driver = connection.driver_connection
    driver._tx.put_nowait((None, driver._conn.rollback))


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("hermes_write", False)
    driver: Any = connection.connection.dbapi_connection
    driver.begin(TO_WRITE if write else TO_READ)
