"""The outbox of a function: what came of each upload lies at the name of its file; the newest counts.

`outbox/img/a.png/edges.png` is the artifact `edges.png` of the run of the newest upload `img/a.png`."""

from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.errors import NotFound
from hermes.functions import FunctionName
from hermes.tables import Artifact, Rank, Repo, Upload
from web.upload_rows import of_function

_MOST_PARTS = 100


class Found(NamedTuple):
    """At a path there is an upload, or one of its artifacts."""

    upload: Upload
    artifact: Artifact | None


async def find_beside(session: AsyncSession, repo: Repo, name: FunctionName, path: str) -> Found | None:
    """None: perhaps a folder of uploads. The longest name of an upload that fits goes first."""
    parts = path.split("/")[:_MOST_PARTS]
    names = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    newest = select(func.max(Upload.id)).where(of_function(repo, name), Upload.name.in_(names))
    newest = newest.where(Upload.run_id.is_not(None)).group_by(Upload.name)
    uploads = (await session.scalars(select(Upload).where(Upload.id.in_(newest)))).all()
    for upload in sorted(uploads, key=lambda each: len(each.name), reverse=True):
        if upload.name == path:
            return Found(upload, None)
        artifact = await _artifact(session, upload, path[len(upload.name) + 1 :])
        if artifact is not None:
            return Found(upload, artifact)
    if uploads:
        raise NotFound(
            f"the newest upload {uploads[0].name[:120]!r} left no such file",
            "its run may not have ended: GET its address lists what is there",
        )
    return None


async def _artifact(session: AsyncSession, upload: Upload, path: str) -> Artifact | None:
    for artifact, place in await outputs_of(session, upload):
        if place == path:
            return artifact
    return None


async def outputs_of(session: AsyncSession, upload: Upload) -> list[tuple[Artifact, str]]:
    """All that came of it, and where each lies; of several ranks below `rank-N/`."""
    found = select(Artifact, Rank.number).join(Rank, Rank.id == Artifact.rank_id)
    rows = (await session.execute(found.where(Artifact.run_id == upload.run_id))).all()
    ranks = select(func.count(Rank.id)).where(Rank.run_id == upload.run_id)
    has_ranks = (await session.scalar(ranks) or 0) > 1
    placed = [(each, f"rank-{number}/{each.path}" if has_ranks else each.path) for each, number in rows]
    return sorted(placed, key=lambda each: each[1])
