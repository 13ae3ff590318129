"""One artifact, as a download or in place: bytes of strangers, so nothing of it ever acts in our name."""

import asyncio
import os
import unicodedata
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from hermes.errors import NotFound
from hermes.removals import Data, refuse_removed
from hermes.tables import Artifact
from hermes.threads import in_thread
from web.lookup import find_artifact
from web.media import LOOK_BYTES, Kind, Media, media_of
from web.netpbm import open_picture
from web.pieces import Pieces
from web.ranges import OutOfRange, no_such_range, parse_range
from web.site import Site, number

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
_CACHE = "private, max-age=3600"
_MAX_TEXT_BYTES = 8 << 20
_converting = asyncio.Semaphore(2)  # pictures whose next piece is made now


class StoredFile(FileResponse):
    """A file, or one range of it; who asks for several, or for what is none, gets the whole."""

    max_ranges = 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ranges are understood as those of logs are (web.ranges); Starlette's own refusals have no words."""
        headers = Headers(scope=scope)
        if "range" in headers and headers.get("if-range") in (None, self.headers.get("etag")):
            size = await in_thread(os.path.getsize, self.path)
            try:
                part = parse_range(headers["range"], size)
            except OutOfRange:
                await no_such_range(size)(scope, receive, send)
                return
            if part is None:
                scope = dict(scope, headers=[each for each in scope["headers"] if each[0] != b"range"])
        await super().__call__(scope, receive, send)


def disposition(how: str, name: str) -> str:
    """`Content-Disposition` with a plain name for old programs and the real one as RFC 5987 says."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = "".join(c if c.isalnum() or c in " ._-+()" else "_" for c in plain) or "file"
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def artifact_url(artifact: Artifact) -> str:
    """The id decides; the name is for people."""
    return f"/artifacts/{artifact.id}/{quote(artifact.path.rpartition('/')[2], safe='')}"


def look(path: Path, artifact: Artifact) -> Media:
    """What its bytes are."""
    try:
        with path.open("rb") as file:
            head = file.read(LOOK_BYTES)
    except FileNotFoundError:
        head = b"\0"
    return media_of(head, artifact.path)


def type_in_place(media: Media, size_bytes: int) -> str | None:
    """The content type for `?inline=1`; None: only as a download."""
    return None if media.is_text and size_bytes > _MAX_TEXT_BYTES else media.content_type


def is_known(request: Request, etag: str) -> bool:
    """Whether the browser has this already."""
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    return not known.isdisjoint({etag, "*"})


async def download(site: Site, request: Request) -> Response:
    """One artifact, by its id."""
    user = await site.reader(request)
    async with site.context.database.read() as session:
        artifact = await find_artifact(session, user, number(request.path_params, "artifact"))
    return await sent(site, request, artifact)


async def sent(site: Site, request: Request, artifact: Artifact) -> Response:
    """Its bytes. `inline=1`: where it can be shown in place; `as=png`: a picture that browsers do not
    know; `preview=1`: on the other origin. Raises Gone, NotFound."""
    async with site.context.database.read() as session:  # others may have the same bytes: they stay theirs
        await refuse_removed(session, Data.ARTIFACTS, artifact.run_id)
    path = site.context.paths.artifact(artifact.sha256)
    if not path.exists():
        raise NotFound("the bytes of this artifact are gone", "run it again to have them anew")
    media = await in_thread(look, path, artifact)
    if request.query_params.get("as") == "png":
        return await _as_png(request, artifact, media, path)
    if request.query_params.get("preview") == "1":
        return _elsewhere(site, artifact, media)
    inline = request.query_params.get("inline") == "1"
    kind = type_in_place(media, artifact.size_bytes) if inline else None
    how = disposition("inline" if kind else "attachment", artifact.path.rpartition("/")[2])
    headers = HEADERS | {"Content-Disposition": how, "ETag": f'"{artifact.sha256}"', "Cache-Control": _CACHE}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return StoredFile(path, headers=headers, media_type=kind or "application/octet-stream")


async def _as_png(request: Request, artifact: Artifact, media: Media, path: Path) -> Response:
    if media.kind is not Kind.NETPBM:
        raise NotFound("this artifact is not a PPM, PGM or PBM picture")
    name = f"{artifact.path.rpartition('/')[2]}.png"
    headers = HEADERS | {"Content-Disposition": disposition("inline", name), "Cache-Control": _CACHE}
    headers["ETag"] = f'"{artifact.sha256}.png"'
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    async with _converting:
        pieces = await in_thread(open_picture, path)
    return Pieces(pieces, headers, "image/png", _slowly(pieces))


async def _slowly(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A piece is made when its reader has the one before, and few are made at a time."""
    while True:
        async with _converting:
            piece = await in_thread(next, pieces, None)
        if piece is None:
            return
        if piece:
            yield piece


def _elsewhere(site: Site, artifact: Artifact, media: Media) -> Response:
    if site.origin is None or media.kind not in (Kind.HTML, Kind.SVG):
        raise NotFound("this artifact has no preview here", "download it")
    return RedirectResponse(site.origin.url(artifact.id), 303)


def routes(site: Site) -> list[Route]:
    """Who may see a repo may have what its runs wrote."""
    return [Route("/artifacts/{artifact}/{name:path}", partial(download, site))]
