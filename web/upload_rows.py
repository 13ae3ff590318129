"""Uploads of a function as they are listed: with their runs, and how many files came of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from hermes.functions import FunctionName
from hermes.paths import Paths
from hermes.states import State
from hermes.tables import Artifact, Rank, Repo, Run, Upload, User
from hermes.threads import in_thread

RECEIVING = "receiving"
_FEW = 3
_OWNER = aliased(User)


@dataclass(frozen=True)
class Row:
    """One upload; `outputs`: its artifacts, if they are few, with their ranks' numbers."""

    upload: Upload
    user: str
    owner: str
    repo: str
    state: str
    reason: str
    ended_at: float | None
    received_bytes: int
    artifacts: int = 0
    outputs: list[tuple[int, Artifact]] = field(default_factory=list)


def of_function(repo: Repo, name: FunctionName) -> ColumnElement[bool]:
    """A condition on Upload: by the repo's name all of it, else of the function that is called so."""
    named = true() if name.name == repo.name else Upload.function == name.name
    return (Upload.repo_id == repo.id) & named


def rows_query() -> "Select[Any]":
    """To be narrowed and ordered."""
    columns: Any = (Upload, User.name, _OWNER.name, Repo.name, Run.state, Run.reason, Run.ended_at)
    found: Select[Any] = (
        select(*columns).join(User, User.id == Upload.user_id).join(Repo, Repo.id == Upload.repo_id)
    )
    return found.join(_OWNER, _OWNER.id == Repo.owner_id).join(Run, Run.id == Upload.run_id, isouter=True)


async def newest_names(
    session: AsyncSession, wanted: ColumnElement[bool], folder: str, after: str, most: int
) -> list[int]:
    """The newest upload of each name in a folder ("": of all), in the order of names."""
    newest = select(func.max(Upload.id)).where(wanted, Upload.run_id.is_not(None)).group_by(Upload.name)
    if folder:
        newest = newest.where(Upload.name.startswith(f"{folder}/", autoescape=True))
    if after:
        newest = newest.where(Upload.name > after)
    return list((await session.scalars(newest.order_by(Upload.name).limit(most))).all())


async def read_rows(session: AsyncSession, paths: Paths, query: "Select[Any]") -> list[Row]:
    """In its order."""
    found = (await session.execute(query)).all()
    runs = [row[0].run_id for row in found if row[0].run_id is not None]
    counts, few = await _outputs(session, runs)
    received = await in_thread(_received, paths, [row[0] for row in found])
    return [
        Row(
            upload,
            user,
            owner,
            repo,
            RECEIVING if state is None else State(state).value,
            reason or "",
            ended_at,
            received[upload.id],
            counts.get(upload.run_id, 0),
            few[upload.run_id],
        )
        for upload, user, owner, repo, state, reason, ended_at in found
    ]


async def _outputs(
    session: AsyncSession, runs: Sequence[int]
) -> tuple[dict[int, int], dict[int, list[tuple[int, Artifact]]]]:
    count = func.count(Artifact.id)
    counted = select(Artifact.run_id, count).where(Artifact.run_id.in_(runs)).group_by(Artifact.run_id)
    counts = {run_id: number for run_id, number in (await session.execute(counted)).all()}
    listed = [run_id for run_id, number in counts.items() if number <= _FEW]
    few = defaultdict[int, list[tuple[int, Artifact]]](list)
    query = select(Rank.number, Artifact).join(Rank, Rank.id == Artifact.rank_id)
    query = query.where(Artifact.run_id.in_(listed)).order_by(Rank.number, Artifact.path)
    for number, artifact in (await session.execute(query)).all():
        few[artifact.run_id].append((number, artifact))
    return counts, few


def _received(paths: Paths, uploads: Sequence[Upload]) -> dict[int, int]:
    found = {}
    for upload in uploads:
        found[upload.id] = upload.size_bytes
        if upload.run_id is None:
            try:
                found[upload.id] = paths.input(upload.token).stat().st_size
            except OSError:
                found[upload.id] = 0
    return found
