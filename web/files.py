"""What a run left behind, as downloads: bytes of strangers, so nothing of it ever acts in our name."""

import unicodedata
from functools import partial
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from hermes.errors import NotFound
from hermes.tables import Artifact, Rank
from hermes.threads import in_thread
from web.archive import Member, archive
from web.lookup import find_artifact, find_run
from web.site import Site, number

HEADERS = {"Content-Security-Policy": "default-src 'none'; sandbox"}
_TEXT = "text/plain; charset=utf-8"
_LOOK_BYTES = 4096
_MAX_TEXT_BYTES = 8 << 20


def kind_of(head: bytes) -> str | None:
    """The type under which a file may be shown in place: an image, by its first bytes, or text."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return _TEXT if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head[:-3].decode() if len(head) == _LOOK_BYTES else head.decode()
    except UnicodeDecodeError as error:
        return len(head) == _LOOK_BYTES and error.start > _LOOK_BYTES - 8
    return True


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LOOK_BYTES)
    except FileNotFoundError:
        return b"\0"


async def shown_in_place(path: Path, size_bytes: int) -> str | None:
    """The content type for `?inline=1`, or None: only as a download."""
    kind = kind_of(await in_thread(_head, path))
    return None if kind == _TEXT and size_bytes > _MAX_TEXT_BYTES else kind


def disposition(how: str, name: str) -> str:
    """`Content-Disposition` with a plain name for old programs and the real one as RFC 5987 says."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = "".join(c if c.isalnum() or c in " ._-+()" else "_" for c in plain) or "file"
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def artifact_url(artifact: Artifact) -> str:
    """The id decides; the name is for people."""
    return f"/artifacts/{artifact.id}/{quote(artifact.path.rpartition('/')[2], safe='')}"


async def download(site: Site, request: Request) -> Response:
    """One artifact."""
    user = await site.reader(request)
    async with site.context.database.read() as session:
        artifact = await find_artifact(session, user, number(request.path_params, "artifact"))
    path = site.context.paths.artifact(artifact.sha256)
    if not path.exists():
        raise NotFound("the bytes of this artifact are gone", "run it again to have them anew")
    inline = request.query_params.get("inline") == "1"
    kind = await shown_in_place(path, artifact.size_bytes) if inline else None
    name = artifact.path.rpartition("/")[2]
    how = disposition("inline" if kind else "attachment", name)
    headers = HEADERS | {"Content-Disposition": how, "ETag": f'"{artifact.sha256}"'}
    headers["Cache-Control"] = "private, max-age=3600"
    return FileResponse(path, headers=headers, media_type=kind or "application/octet-stream")


async def everything(site: Site, request: Request) -> Response:
    """All artifacts of a run."""
    user = await site.reader(request)
    async with site.context.database.read() as session:
        run, place = await find_run(session, user, number(request.path_params, "run"))
        rows = await session.execute(
            select(Artifact, Rank.number)
            .join(Rank, Rank.id == Artifact.rank_id)
            .where(Artifact.run_id == run.id)
            .order_by(Rank.number, Artifact.path)
        )
        found = rows.all()
        several = await session.scalar(select(Rank.id).where(Rank.run_id == run.id, Rank.number == 1))
    if not found:
        raise NotFound(f"run {run.id} left no artifacts")
    members = [
        Member(
            f"rank-{rank}/{artifact.path}" if several else artifact.path,
            site.context.paths.artifact(artifact.sha256),
            artifact.size_bytes,
            artifact.created_at,
        )
        for artifact, rank in found
    ]
    how = disposition("attachment", f"{place.repo.name}-run-{run.id}.zip")
    return StreamingResponse(
        archive(members), headers=HEADERS | {"Content-Disposition": how}, media_type="application/zip"
    )


def routes(site: Site) -> list[Route]:
    """Who may see a repo may have what its runs wrote."""
    return [
        Route("/artifacts/{artifact}/{name:path}", partial(download, site)),
        Route("/runs/{run}/artifacts.zip", partial(everything, site)),
    ]
