"""A real PostgreSQL of the tests' own, in a temporary directory, on a Unix socket."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import StaticPool

from hermes.settings import Settings
from hermes.tables import User


def find_binaries() -> Path | None:
    """Where Debian puts the server's programs; the newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def _as_postgres(command: list[str]) -> list[str]:
    """The server refuses to run as root."""
    return (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        if os.getuid() == 0
        else command
    )


@dataclass
class Server:
    """One that can be stopped and started; `url` is that of an empty database."""

    binaries: Path
    folder: Path

    @property
    def user(self) -> str:
        """Who owns it."""
        return "postgres" if os.getuid() == 0 else os.environ["USER"]

    @property
    def url(self) -> str:
        """Of its database."""
        return f"postgresql://{self.user}@/hermes?host={self.folder}"

    def make(self) -> None:
        """Its files, and the database."""
        options = ("-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        self._call("initdb", "-D", str(self.folder / "data"), *options)
        self.start()
        self._call("createdb", "-h", str(self.folder), "-U", self.user, "hermes")

    def start(self) -> None:
        """Returns when it answers."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self._control("-w", "-o", options, "-l", str(self.folder / "log"), "start")

    def stop(self, how: str = "immediate") -> None:
        """`immediate`: as in a crash; `fast`: whoever is connected is told."""
        self._control("-w", "-m", how, "stop")

    def _control(self, *words: str) -> None:
        self._call("pg_ctl", "-D", str(self.folder / "data"), *words)

    def _call(self, program: str, *words: str) -> None:
        command = _as_postgres([str(self.binaries / program), *words])
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)


@contextmanager
def serving(binaries: Path) -> Iterator[Server]:
    """One that is up."""
    folder = Path(tempfile.mkdtemp(prefix="hermes-pg-", dir="/tmp"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    one = Server(binaries, folder)
    one.make()
    try:
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(binaries: Path) -> Iterator[str]:
    """Yields the URL of an empty database."""
    with serving(binaries) as one:
        yield one.url


async def copied(url: str) -> sqlite3.Connection:
    """All its rows, in memory."""
    copy = sqlite3.connect(":memory:")
    target = create_engine("sqlite://", creator=lambda: copy, poolclass=StaticPool)
    User.metadata.create_all(target)
    source = create_async_engine(Settings(database_url=url).database)
    async with source.connect() as rows:
        with target.begin() as into:
            for table in User.metadata.sorted_tables:
                found = [dict(row) for row in (await rows.execute(table.select())).mappings()]
                if found:
                    into.execute(table.insert(), found)
    await source.dispose()
    return copy
