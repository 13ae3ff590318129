"""Takes a backup while the service runs: first the database, then everything that it names."""

import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine

from hermes import __version__
from hermes.backup import DATABASE, FORMAT, INFO, KEYS, named
from hermes.backup.named import Item, Named, read_named
from hermes.backup.progress import Progress
from hermes.backup.repos import files_of, move_back, packed, refs_now
from hermes.backup.target import Target
from hermes.database import Database
from hermes.errors import UserError
from hermes.hold import keep_all
from hermes.paths import Paths
from hermes.schema import look_at_schema
from hermes.secret_keys import key_file
from hermes.settings import Settings


@dataclass(frozen=True)
class Wanted:
    """What is not in every backup."""

    keys: bool = False
    database: bool = True


@dataclass
class Report:
    """What was taken, and what was not there to be taken."""

    schema: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    size_bytes: int = 0
    missing: list[str] = field(default_factory=list)  # a row names it, and there is no such file
    damaged: list[str] = field(default_factory=list)  # it is not what its name says
    seconds: float = 0.0


class Take:
    """One backup."""

    def __init__(
        self, settings: Settings, target: Target, wanted: Wanted, say: Callable[[str], None]
    ) -> None:
        self._settings, self._target, self._wanted, self._say = settings, target, wanted, say
        self._paths, self._report, self._progress = Paths(settings.data), Report(), Progress(target, say)

    async def all(self) -> Report:
        """From the first row to the last byte. Raises UserError, Unavailable, OSError."""
        began_at = time.time()
        with keep_all(self._paths, lambda: self._say("waiting for maintenance, or another backup, to end")):
            live = Database(self._settings.database)
            try:
                await self._check(live)
                then = await self._rows(live)
                await self._repos(live, then)
            finally:
                await live.close()
            for part in (
                named.artifacts_of,
                named.inputs_of,
                named.images_of,
                named.results_of,
                named.logs_of,
            ):
                what = part.__name__.removesuffix("_of")
                self._report.counts[what] = self._add(what, list(part(then, self._paths)))
        if self._wanted.keys:
            self._report.counts["keys"] = self._add("keys", list(self._keys()))
        report = self._report
        report.size_bytes, report.seconds = self._target.size_bytes, round(time.time() - began_at, 2)
        self._target.write(INFO, json.dumps(self._info(began_at), indent=1).encode() + b"\n")
        self._target.finish()
        return report

    def _info(self, began_at: float) -> dict[str, Any]:
        of_program = {"format": FORMAT, "hermes": __version__, "began_at": began_at, "ended_at": time.time()}
        return (
            of_program | {"database": self._wanted.database, "keys": self._wanted.keys} | vars(self._report)
        )

    async def _check(self, live: Database) -> None:
        if self._wanted.database and not live.is_sqlite:
            raise UserError(
                "the database is PostgreSQL, which has means of its own: it is dumped before the files",
                "pg_dump -Fc … > hermes.dump && hermes admin backup DEST --without-database",
            )
        schema = await look_at_schema(live)
        if schema.is_newer:
            raise UserError(
                f"the database has schema {schema.found}, and this program knows {schema.head}",
                "take the backup with the program that runs the service",
            )
        self._report.schema = schema.found

    async def _rows(self, live: Database) -> Named:
        if not self._wanted.database:
            async with live.read() as session:
                return await (await session.connection()).run_sync(read_named)
        with tempfile.TemporaryDirectory(prefix="hermes-backup-", dir=self._target.scratch) as folder:
            copy = Path(folder, DATABASE)
            then = await asyncio.to_thread(_copy_database, Path(live.url.database or ""), copy)
            self._report.counts["database"] = self._add("database", [Item(DATABASE, copy, True)])
        return then

    async def _repos(self, live: Database, then: Named) -> None:
        places = {each: self._paths.repo(each) for each in then.repos}
        refs = {each: refs_now(place) for each, place in places.items() if place.is_dir()}
        async with live.read() as session:
            await move_back(session, refs, then.last_push)
        self._progress.begin("repositories", len(refs))
        for repo_id, names in refs.items():
            for item in files_of(places[repo_id], self._paths):
                self._target.add(item)
            folder = places[repo_id].relative_to(self._paths.root)
            self._target.write(f"{folder}/packed-refs", packed(names))
            self._progress.one_more()
        self._progress.end()
        self._report.counts["repositories"] = len(refs)

    def _add(self, what: str, items: Sequence[Item]) -> int:
        """Returns how many there were."""
        missing = len(self._report.missing)
        self._progress.begin(what, len(items))
        for item in items:
            try:
                digest = self._target.add(item)
            except FileNotFoundError:
                self._report.missing.append(item.name)
                continue
            if what == "artifacts" and digest != item.source.name:
                self._report.damaged.append(item.name)
            self._progress.one_more()
        self._progress.end()
        return len(items) - len(self._report.missing) + missing

    def _keys(self) -> Iterator[Item]:
        for name in KEYS:
            place = key_file(self._settings) if name == "secret_key" else self._paths.root / name
            if place.is_file():
                yield Item(f"keys/{name}", place, False)


def _copy_database(source: Path, copy: Path) -> Named:
    """All of one moment, whatever is written meanwhile: in several steps each write would begin it anew.
    It is one file, without a log beside it."""
    copy.touch(mode=0o600)
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(copy)) as mine:
        live.backup(mine, pages=-1)
        mine.execute("PRAGMA journal_mode=DELETE")
    engine = create_engine(f"sqlite:///{copy}", poolclass=NullPool)
    with engine.connect() as connection:
        return read_named(connection)
