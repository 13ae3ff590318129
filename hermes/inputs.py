"""Files that invocations bring: each written once under a random token, whole and on disk before its run is.

What no run came to own (its client vanished, the service was killed) is swept after a day."""

import asyncio
import os
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from hermes.database import Database
from hermes.disk import begin_sync, sync
from hermes.errors import TooLarge, Unavailable, UserError
from hermes.journal import log
from hermes.paths import Paths
from hermes.tables import STDIN, Input
from hermes.threads import in_thread
from hermes.units import show_size

_GATHER_BYTES, _BEGIN_BYTES = 1 << 20, 8 << 20
_PIECES_AT_ONCE = 512  # IOV_MAX is 1024
_ORPHAN_S = 86400.0
_SWEEP_S = 3600.0
_SWEPT_AT_ONCE = 500
_MOST_NAME_BYTES, _MOST_PART_BYTES = 1024, 255


@dataclass(frozen=True)
class Stored:
    """A file that is on disk; `name` as in Input."""

    name: str
    token: str
    size_bytes: int


def check_input_name(name: str) -> str:
    """As a path below the input directory. Raises UserError."""
    parts = name.encode("utf-8", "replace").decode().split("/")
    is_bad = any(part in ("", ".", "..") or len(part.encode()) > _MOST_PART_BYTES for part in parts)
    is_bad = is_bad or len("/".join(parts).encode()) > _MOST_NAME_BYTES
    if is_bad or re.search(r"[\x00-\x1f\x7f\\\ud800-\udfff]", name):
        raise UserError(
            f"{name[:80]!r} cannot be the name of an input file",
            "use a relative path without `..`, as in data/a.txt",
        )
    return name


@dataclass
class Intake:
    """The files of one invocation as they come in; `discard` them unless a run has them in the end."""

    paths: Paths
    limit_bytes: int
    limit_files: int
    stored: list[Stored] = field(default_factory=list)
    _taken_bytes: int = 0
    _open: "_Writing | None" = None
    _flushing: "asyncio.Task[None] | None" = None  # while the next pieces come

    async def begin(self, name: str) -> None:
        """The next file. Raises UserError for a name that cannot be, or is there already."""
        if name != STDIN:
            check_input_name(name)
        if any(_clash(each.name, name) for each in self.stored):
            what = f"the input file {name[:80]!r}" if name else "stdin"
            raise UserError(f"{what} came twice, or is also a folder", "give each input a name of its own")
        if len(self.stored) >= self.limit_files:
            raise TooLarge(f"more than {self.limit_files} input files", "pack them (HERMES_INPUT_FILES)")
        self._open = await in_thread(_Writing.open, self.paths, name)

    async def write(self, data: bytes) -> None:
        """More of it. Raises TooLarge."""
        assert self._open is not None
        self._taken_bytes += len(data)
        if self._taken_bytes > self.limit_bytes:
            limit = show_size(self.limit_bytes)
            raise TooLarge(
                f"the input has more than {limit}", "send less, or ask the operator (HERMES_INPUT_SIZE)"
            )
        self._open.held.append(data)
        self._open.held_bytes += len(data)
        if self._open.held_bytes >= _GATHER_BYTES:
            await self._settle()
            self._flushing = asyncio.create_task(in_thread(self._open.flush, self._open.taken()))

    async def end(self) -> None:
        """It is whole, and on disk."""
        assert self._open is not None
        await self._settle()
        writing, self._open = self._open, None
        self.stored.append(await in_thread(writing.finish))

    async def discard(self) -> None:
        """No run has them."""
        with suppress(OSError):
            await self._settle()
        if self._open is not None:
            await in_thread(self._open.drop)
        await in_thread(_remove, self.paths, [each.token for each in self.stored])

    async def _settle(self) -> None:
        """What was being written is."""
        if self._flushing is not None:
            await asyncio.wait((self._flushing,))
            flushed, self._flushing = self._flushing, None
            flushed.result()


@dataclass
class _Writing:
    name: str
    token: str
    path: Path
    descriptor: int
    held: list[bytes] = field(default_factory=list)
    held_bytes: int = 0
    size_bytes: int = 0
    begun_bytes: int = 0  # which the disk has begun with

    @classmethod
    def open(cls, paths: Paths, name: str) -> "_Writing":
        token = secrets.token_hex(16)
        path = paths.input(token)
        path.parent.mkdir(parents=True, exist_ok=True)
        return cls(name, token, path, os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444))

    def taken(self) -> list[bytes]:
        """What is held, which the caller writes."""
        pieces, self.held, self.held_bytes = self.held, [], 0
        return pieces

    def flush(self, pieces: list[bytes]) -> None:
        while pieces:
            written = os.writev(self.descriptor, pieces[:_PIECES_AT_ONCE])
            self.size_bytes += written
            while pieces and written >= len(pieces[0]):
                written -= len(pieces.pop(0))
            if written:
                pieces[0] = pieces[0][written:]
        if self.size_bytes >= self.begun_bytes + _BEGIN_BYTES:
            begin_sync(self.descriptor, self.begun_bytes, self.size_bytes - self.begun_bytes)
            self.begun_bytes = self.size_bytes

    def finish(self) -> Stored:
        self.flush(self.taken())
        os.fchmod(self.descriptor, 0o444)  # whatever our umask is: a program with another uid reads it
        os.fsync(self.descriptor)
        os.close(self.descriptor)
        sync([self.path.parent])
        return Stored(self.name, self.token, self.size_bytes)

    def drop(self) -> None:
        os.close(self.descriptor)
        self.path.unlink(missing_ok=True)


def _clash(one: str, other: str) -> bool:
    """The same, or one would be a folder of the other."""
    if STDIN in (one, other):
        return one == other
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _remove(paths: Paths, tokens: Iterable[str]) -> None:
    for token in tokens:
        paths.input(token).unlink(missing_ok=True)


async def keep_sweeping_inputs(database: Database, paths: Paths) -> None:
    """For ever, now and then."""
    while True:
        try:
            if swept := await sweep_inputs(database, paths):
                log.info("inputs swept", files=swept)
        except (Unavailable, OSError) as error:
            log.warning("inputs not swept", error=str(error))
        await asyncio.sleep(_SWEEP_S)


async def sweep_inputs(database: Database, paths: Paths) -> int:
    """Remove what nobody owns and nobody can still be writing; returns how many."""
    old = await in_thread(_old, paths, time.time() - _ORPHAN_S)
    orphans: list[str] = []
    for begin in range(0, len(old), _SWEPT_AT_ONCE):
        some = old[begin : begin + _SWEPT_AT_ONCE]
        async with database.read() as session:
            owned = set((await session.scalars(select(Input.token).where(Input.token.in_(some)))).all())
        orphans += [token for token in some if token not in owned]
    await in_thread(_remove, paths, orphans)
    return len(orphans)


def _old(paths: Paths, before: float) -> list[str]:
    found = []
    for path in paths.inputs.glob("*/*"):
        with suppress(OSError):
            if path.stat().st_mtime < before:
                found.append(path.name)
    return found
