"""What is old, and where its bytes lie: of each kind the oldest first, without what lasts."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Float, cast, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.database import portions
from hermes.lasting import Lasting
from hermes.logs import index_path
from hermes.paths import Paths
from hermes.removals import Data, is_removed
from hermes.stages import stages_path
from hermes.states import LIVE, TERMINAL, State
from hermes.tables import Artifact, Build, Input, Rank, Run

_MOST = 10_000  # of a kind that one sweep looks at
Old = list[tuple[int, float]]  # the run, build or repository, and when it ended or was used last


@dataclass(frozen=True)
class Files:
    """Of one run, build or repository. What is `shared` goes when nobody else has it; by digest or token."""

    own: list[Path]
    shared: dict[str, Path]

    @property
    def all(self) -> list[Path]:
        """As if nothing were shared."""
        return [*self.own, *self.shared.values()]


async def old(session: AsyncSession, paths: Paths, kind: Data, lasting: Lasting, before: float) -> Old:
    """What of this kind has ended, or was used last, before this moment."""
    if kind is Data.CACHES:
        return await _caches(session, paths, before)
    if kind is Data.IMAGES:
        return await _images(session, lasting, before)
    if kind is Data.BUILD_LOGS:
        over = select(Build.id, Build.ended_at).where(Build.state.in_(TERMINAL), Build.ended_at < before)
        query = over.where(~is_removed(kind, Build.id)).order_by(Build.ended_at)
        return await _some(session, query, lasting.builds)
    has = _HAS.get(kind)
    ended = select(Run.id, Run.ended_at).where(Run.state.in_(TERMINAL), Run.ended_at < before)
    if has is not None:
        ended = ended.where(has)
    return await _some(session, ended.where(~is_removed(kind, Run.id)).order_by(Run.ended_at), lasting.runs)


_HAS: dict[Data, ColumnElement[bool]] = {
    Data.ARTIFACTS: exists().where(Artifact.run_id == Run.id),
    Data.INPUTS: exists().where(Input.run_id == Run.id),
    Data.RESULTS: exists().where(Rank.run_id == Run.id, Rank.summary["result_bytes"].as_float().is_not(None)),
}


async def _some(session: AsyncSession, query: Any, lasting: Collection[int]) -> Old:
    rows = (await session.execute(query.limit(_MOST + len(lasting)))).all()
    return [(row_id, at) for row_id, at in rows if row_id not in lasting][:_MOST]


async def _images(session: AsyncSession, lasting: Lasting, before: float) -> Old:
    used = select(Run.build_id, func.max(Run.created_at).label("at")).group_by(Run.build_id).subquery()
    at = cast(func.coalesce(used.c.at, Build.ended_at, Build.created_at), Float)
    query = select(Build.id, at).join(used, used.c.build_id == Build.id, isouter=True)
    query = query.where(Build.state == State.BUILT, at < before, ~is_removed(Data.IMAGES, Build.id))
    return await _some(session, query.order_by(at), lasting.images)


async def _caches(session: AsyncSession, paths: Paths, before: float) -> Old:
    """A repository's is used by its builds."""
    there = {int(path.name) for path in paths.compiler_caches.glob("[0-9]*") if path.name.isdigit()}
    at_work = select(Build.repo_id).where(Build.state.in_(LIVE))
    used = func.max(func.coalesce(Build.ended_at, Build.created_at))
    query = select(Build.repo_id, used).where(Build.repo_id.not_in(at_work)).group_by(Build.repo_id)
    rows = (await session.execute(query.having(used < before).order_by(used))).all()
    return [(repo_id, at) for repo_id, at in rows if repo_id in there]


async def files_of(session: AsyncSession, paths: Paths, kind: Data, ids: Collection[int]) -> dict[int, Files]:
    """Where the bytes of these lie, or would."""
    found = {each: Files([], {}) for each in ids}
    if kind in (Data.CACHES, Data.IMAGES):
        place = paths.compiler_cache if kind is Data.CACHES else paths.image
        return {each: Files([place(each)], {}) for each in ids}
    for some in portions(ids):
        if kind is Data.BUILD_LOGS:
            for build_id, attempts in await _rows(session, select(Build.id, Build.attempt), Build.id, some):
                found[build_id].own.extend(_logs(paths, "build", build_id, attempts))
        elif kind is Data.ARTIFACTS:
            query = select(Artifact.run_id, Artifact.sha256).distinct()
            for run_id, sha256 in await _rows(session, query, Artifact.run_id, some):
                found[run_id].shared[sha256] = paths.artifact(sha256)
        elif kind is Data.INPUTS:
            for run_id, token in await _rows(session, select(Input.run_id, Input.token), Input.run_id, some):
                found[run_id].shared[token] = paths.input(token)
        else:
            ranks = select(Rank.run_id, Rank.id, Rank.attempt)
            for run_id, rank_id, attempts in await _rows(session, ranks, Rank.run_id, some):
                found[run_id].own.extend(_of_rank(paths, kind, rank_id, attempts))
    return found


async def _rows(session: AsyncSession, query: Any, column: Any, ids: Collection[int]) -> Any:
    return (await session.execute(query.where(column.in_(ids)))).all()


def _of_rank(paths: Paths, kind: Data, rank_id: int, attempts: int) -> list[Path]:
    if kind is Data.LOGS:
        return _logs(paths, "rank", rank_id, attempts)
    return [paths.result(rank_id, attempt) for attempt in range(1, attempts + 1)]


def _logs(paths: Paths, kind: str, row_id: int, attempts: int) -> list[Path]:
    files = []
    for attempt in range(1, attempts + 1):
        log = paths.log(kind, row_id, attempt)
        files += [log, index_path(log), *([stages_path(log)] if kind == "build" else [])]
    return files


async def still_needed(session: AsyncSession, kind: Data, names: Collection[str]) -> set[str]:
    """Of these digests (or tokens), those that something has which was not removed."""
    column, run = Input.token, Input.run_id
    if kind is Data.ARTIFACTS:
        column, run = Artifact.sha256, Artifact.run_id
    needed: set[str] = set()
    for some in portions(names):
        query = select(column).where(column.in_(some), ~is_removed(kind, run)).distinct()
        needed |= set((await session.scalars(query)).all())
    return needed


def folder_of(paths: Paths, kind: Data) -> Path:
    """Below which all of this kind lie."""
    return {
        Data.CACHES: paths.compiler_caches,
        Data.IMAGES: paths.image(0).parent,
        Data.INPUTS: paths.inputs,
        Data.RESULTS: paths.result(0, 0).parent,
        Data.ARTIFACTS: paths.artifacts,
        Data.BUILD_LOGS: paths.log("build", 0, 0).parent,
        Data.LOGS: paths.log("rank", 0, 0).parent,
    }[kind]


def size_bytes(files: Iterable[Path]) -> int:
    """What they take of the disk; what is not there takes nothing. Blocks."""
    total = 0
    for path in files:
        try:
            found = path.stat()
        except OSError:
            continue
        if path.is_dir():
            inside = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
            total += size_bytes(inside)
        else:
            total += found.st_blocks * 512
    return total
