"""A process is killed amid a migration: the next start has the whole schema, as if nothing had been."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hermes.database import Database
from hermes.schema import migrate
from hermes.settings import Settings
from tests.programs import shell
from tests.promises import Told, all_is_kept
from tests.service import Service, living

MIGRATES = """
import asyncio, os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from hermes.database import Database
from hermes.schema import migrate

done, last = 0, int(sys.argv[2])

@event.listens_for(Engine, "after_cursor_execute")
def count(*_):
    global done
    done += 1
    if done == last:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    database = Database(sys.argv[1])
    await migrate(database)
    await database.close()
    print(done)

asyncio.run(main())
"""


def begin(data: Path, last: int) -> "subprocess.CompletedProcess[str]":
    """A program brings the database to its schema, and is killed after so many statements."""
    data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", MIGRATES, Settings(data=data).database, str(last)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def schema(data: Path) -> dict[str, list[str]]:
    """Its tables and indices by name: their lines, whose order is not always the same."""
    with closing(sqlite3.connect(data / "hermes.db")) as rows:
        assert rows.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = rows.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: sorted(line.strip(" \t,") for line in sql.splitlines()) for name, sql in found}


async def finish(data: Path) -> None:
    database = Database(Settings(data=data).database)
    await migrate(database)
    await database.close()


@pytest.mark.fault(42)
def test_who_is_killed_amid_a_migration_leaves_nothing_half_done(tmp_path: Path) -> None:
    whole = begin(tmp_path / "whole", 0)
    assert whole.returncode == 0, whole.stderr
    count, wanted = int(whole.stdout), schema(tmp_path / "whole")
    for share in (0.0, 0.3, 0.6, 0.9, 1.0):
        data = tmp_path / f"killed-{share}"
        killed = begin(data, max(round(share * count), 1))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        asyncio.run(finish(data))
        assert schema(data) == wanted, share
    env = {"HERMES_EXECUTOR": "local", "HERMES_TRUST": "all", "HERMES_REDIS_URL": "none", "HERMES_POLL": "1s"}
    with living(Service(tmp_path / "killed-0.6", env)) as one:
        all_is_kept(one, [Told(one.push(shell("echo hello")), b"hello\n")])
