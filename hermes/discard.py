"""Takes bytes away: rows are marked, then files go. What several rows have goes with the last of them."""

import fcntl
import os
import shutil
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.disk import held
from hermes.old import files_of, size_bytes, still_needed
from hermes.process import Context
from hermes.removals import OF_BUILDS, Data
from hermes.states import LIVE, TERMINAL
from hermes.tables import Build, Removal, Run
from hermes.threads import in_thread

_SHARED = (Data.ARTIFACTS, Data.INPUTS)
_STORING_S = 3600.0  # a file that was stored so lately may belong to a row that is not written yet
_ORPHAN_S = 86400.0
_PORTION = 500


async def mark(context: Context, kind: Data, why: Mapping[int, str]) -> list[int]:
    """Write down that these are gone, as far as they may go; returns those."""
    if kind is Data.CACHES:  # nothing is lost: no row has them
        return await _idle(context, list(why))
    table: type[Build] | type[Run] = Build if kind in OF_BUILDS else Run
    async with context.database.write() as session:
        over = select(table.id).where(table.id.in_(why), table.state.in_(TERMINAL)).with_for_update()
        may_go = set((await session.scalars(over)).all()) - await _kept(session, kind, list(why))
        if kind is Data.IMAGES:
            needed = select(Run.build_id).where(Run.build_id.in_(why), Run.state.not_in(TERMINAL))
            may_go -= set((await session.scalars(needed)).all())
        there = select(Removal.subject_id).where(Removal.kind == kind, Removal.subject_id.in_(why))
        gone = sorted(may_go - set((await session.scalars(there)).all()))
        session.add_all(
            Removal(kind=kind, subject_id=each, at=time.time(), why=why[each], done_at=None) for each in gone
        )
    return gone


async def _kept(session: AsyncSession, kind: Data, ids: Collection[int]) -> set[int]:
    """What somebody keeps at this moment, whatever the sweep has seen."""
    if kind is Data.IMAGES:
        return set()
    subject = Run.build_id if kind in OF_BUILDS else Run.id
    return set(
        (await session.scalars(select(subject).where(subject.in_(ids), Run.kept_at.is_not(None)))).all()
    )


async def _idle(context: Context, repos: list[int]) -> list[int]:
    async with context.database.read() as session:
        at_work = select(Build.repo_id).where(Build.repo_id.in_(repos), Build.state.in_(LIVE))
        return sorted(set(repos) - set((await session.scalars(at_work)).all()))


async def finish(context: Context, kind: Data | None = None, ids: Collection[int] = ()) -> int:
    """Remove the files of these, or of all that are marked and may have some; returns their bytes."""
    if kind is None:
        async with context.database.read() as session:
            query = select(Removal).where(Removal.done_at.is_(None)).limit(_PORTION)
            rows = (await session.scalars(query)).all()
        left = {each: [row.subject_id for row in rows if row.kind == each] for each in Data}
        return sum([await finish(context, each, some) for each, some in left.items() if some])
    if not ids:
        return 0
    async with context.database.read() as session:
        files = (await files_of(session, context.paths, kind, ids)).values()
        shared = {name: path for each in files for name, path in each.shared.items()}
        needed = await still_needed(session, kind, shared) if kind in _SHARED else set()
    freed = await in_thread(_remove, [path for each in files for path in each.own])
    alone = [path for name, path in shared.items() if name not in needed]
    freed += await in_thread(_remove_stored if kind is Data.ARTIFACTS else _remove, alone)
    if kind is not Data.CACHES:
        async with context.database.write() as session:
            marked = (Removal.kind == kind, Removal.subject_id.in_(ids))
            await session.execute(update(Removal).where(*marked).values(done_at=time.time()))
    return freed


def _remove(paths: list[Path]) -> int:
    freed = 0
    for path in paths:
        size = size_bytes([path])
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        freed += size
    return freed


def _remove_stored(paths: list[Path], older_s: float = _STORING_S) -> int:
    return sum(_remove_one(path, older_s) for path in paths)


def _remove_one(path: Path, older_s: float) -> int:
    """Unless it was stored lately: looked at and removed while nobody can store one of its digest."""
    with suppress(OSError), held(path, fcntl.LOCK_EX):
        found = path.stat()
        if found.st_mtime < time.time() - older_s:
            path.unlink()
            return found.st_blocks * 512
    return 0


async def sweep_orphans(context: Context) -> int:
    """Artifacts that no row has: their run was fenced, or killed before it ended; returns how many bytes."""
    freed = 0
    for folder in sorted(context.paths.artifacts.glob("[0-9a-f][0-9a-f]")):
        names = await in_thread(_older, folder, time.time() - _ORPHAN_S)
        for begin in range(0, len(names), _PORTION):
            some = names[begin : begin + _PORTION]
            async with context.database.read() as session:
                needed = await still_needed(session, Data.ARTIFACTS, some)
            orphans = [folder / name for name in some if name not in needed]
            freed += await in_thread(_remove_stored, orphans, _ORPHAN_S)
    return freed


def _older(folder: Path, before: float) -> list[str]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.stat().st_mtime < before:
                    found.append(entry.name)
    return found
