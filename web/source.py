"""`/{owner}/{repo}/source/{sha}/{path}`: a file or a folder of a commit, never checked out."""

import asyncio
import hashlib
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.errors import NotFound
from hermes.repos import get_readable
from hermes.tables import Repo, User
from hermes.threads import in_thread
from web.commit import full_sha
from web.crowd import Crowd
from web.files import HEADERS, disposition, is_known
from web.highlighter import Highlighter
from web.pieces import Pieces
from web.site import Site
from web.sources import File, Folder, address_of, read_raw, read_source, split_path

_MAX_ADDRESS_BYTES = 8192
_AT_ONCE = 4  # pages that are made
_MOST_RAW, _MOST_RAW_EACH = 16, 4


@dataclass(frozen=True)
class Sources:
    """What all source pages share."""

    site: Site
    highlighter: Highlighter = field(default_factory=Highlighter)
    raw: Crowd = field(default_factory=lambda: Crowd("files", _MOST_RAW, _MOST_RAW_EACH))
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))


@dataclass(frozen=True)
class Asked:
    """Whose page, and of what."""

    user: User | None
    repo: Repo
    owner: str
    sha: str
    path: list[bytes]

    @property
    def name(self) -> str:
        """Of the last part, for people."""
        return self.path[-1].decode("utf-8", "replace") if self.path else self.repo.name

    @property
    def base(self) -> str:
        """The address of the folder at the top, to which paths are added."""
        return f"/{self.owner}/{self.repo.name}/source/{self.sha}/"

    def crumbs(self) -> list[tuple[str, str]]:
        """(name, address) of the folders above."""
        above = range(1, len(self.path))
        return [
            (self.path[i - 1].decode("utf-8", "replace"), self.base + address_of(self.path[:i]))
            for i in above
        ]


async def source(sources: Sources, request: Request) -> Response:
    """The page; `?raw=1`: the bytes."""
    site = sources.site
    raw_path = bytes(request.scope.get("raw_path") or request.url.path.encode())
    parts = raw_path.split(b"/", 5)  # "", owner, repo, "source", sha, path
    rest = parts[5] if len(parts) > 5 else b""
    if len(rest) > _MAX_ADDRESS_BYTES:
        raise NotFound("there is no file with so long a path")
    user = await site.reader(request)
    async with site.context.database.read() as session:
        asked = await _asked(session, user, request, rest)
    if rest.startswith(b"/app/"):  # as compilers name it
        return RedirectResponse(asked.base + address_of(split_path(rest[5:])), 302)
    if asked.sha != request.path_params["sha"]:
        return RedirectResponse(asked.base + address_of(asked.path), 302)
    repo = site.context.paths.repo(asked.repo.id)
    if not repo.exists():
        raise NotFound(f"there is no commit {asked.sha[:12]} in this repository")
    async with sources.turn:
        found = await in_thread(read_source, repo, asked.sha, asked.path)
    if request.query_params.get("raw") == "1":
        return _raw(sources, request, asked, found)
    return await _page(sources, request, asked, found)


async def _asked(session: AsyncSession, user: User | None, request: Request, rest: bytes) -> Asked:
    owner, name, sha = (request.path_params[key] for key in ("owner", "repo", "sha"))
    repo = await get_readable(session, user, owner, name)
    return Asked(user, repo, owner, await full_sha(session, repo, sha.lower()), split_path(rest))


def _raw(sources: Sources, request: Request, asked: Asked, found: Folder | File) -> Response:
    if isinstance(found, Folder) or found.what == "submodule":
        raise NotFound(f"{asked.name} is not a file")
    headers = HEADERS | {
        "Content-Disposition": disposition("attachment", asked.name),
        "Content-Length": str(found.size_bytes),
        "ETag": f'"{found.sha}"',
        "Cache-Control": "private, max-age=3600",
    }
    if is_known(request, headers["ETag"]):
        del headers["Content-Length"]
        return Response(status_code=304, headers=headers)
    pieces = read_raw(sources.site.context.paths.repo(asked.repo.id), found.sha)
    return sources.raw.admit(request, asked.user, Pieces(pieces, headers, "application/octet-stream"))


async def _page(sources: Sources, request: Request, asked: Asked, found: Folder | File) -> Response:
    """Each visitor's browser keeps it, and asks whether it is still the one."""
    site = sources.site
    known = [
        site.look.digest,
        str(asked.user and asked.user.id),
        asked.base,
        address_of(asked.path),
        found.sha,
    ]
    etag = f'"{hashlib.sha256(chr(0).join(known).encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    async with sources.turn:
        page = await in_thread(_render, sources, request, asked, found)
    page.headers.update(headers)
    return page


def _render(sources: Sources, request: Request, asked: Asked, found: Folder | File) -> Response:
    """In a thread: a long file takes a while."""
    values = {"asked": asked, "found": found, "here": asked.base + address_of(asked.path)}
    if isinstance(found, Folder):
        return sources.site.page(request, "folder.html", **values)
    lines = sources.highlighter.lines(asked.name, found.text) if found.text else []
    return sources.site.page(request, "source.html", lines=lines, **values)


def routes(site: Site) -> list[Route]:
    """Who may see a repo."""
    page = partial(source, Sources(site))
    address = "/{owner}/{repo}/source/{sha}"
    return [Route(address, page), Route(address + "/{path:path}", page)]
