"""The routes of git over HTTP: `/{owner}/{name}.git/…`, smart protocol only."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from dulwich.protocol import pkt_line
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from gitserver import child
from gitserver.access import ask_for_token, who
from gitserver.body import drain, read_body
from gitserver.protocol import FLUSH, BadProtocol
from gitserver.push import Receiver, read_head
from gitserver.stream import answer
from hermes.accounts import Identity
from hermes.errors import Unavailable, UserError
from hermes.git import init_bare
from hermes.images import ImageTable
from hermes.journal import log
from hermes.process import Context
from hermes.repos import find_repo, get_or_make_writable, get_readable
from hermes.tables import Repo
from hermes.threads import in_thread

_NO_CACHE = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "X-Accel-Buffering": "no"}
_PROGRAMS = ("git-receive-pack", "git-upload-pack")
_PROBE = FLUSH  # what git sends to see whether its credentials work
Handler = Callable[[Request, Identity], Awaitable[Response]]


@dataclass(frozen=True)
class GitServer:
    """The handlers; `closing` ends the streams when the service stops."""

    context: Context
    images: ImageTable
    closing: asyncio.Event

    def routes(self) -> list[Route]:
        """To be mounted before the pages."""
        base = "/{owner}/{name}.git"
        return [
            Route(f"{base}/info/refs", self._guard(self.info_refs), methods=["GET"]),
            Route(f"{base}/git-receive-pack", self._guard(self.receive_pack), methods=["POST"]),
            Route(f"{base}/git-upload-pack", self._guard(self.upload_pack), methods=["POST"]),
        ]

    def _guard(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Identity first; every error as words that git shows."""

        async def guarded(request: Request) -> Response:
            try:
                identity = await who(request, self.context)
                if identity is None:
                    return ask_for_token()
                return await handler(request, identity)
            except UserError as error:
                return PlainTextResponse(_words(error), error.status)
            except BadProtocol as error:
                return PlainTextResponse(f"not a git request: {error}\n", 400)
            except Unavailable as error:
                log.warning("git request failed", path=request.url.path, error=str(error))
                return PlainTextResponse(f"{error}; try again\n", 503, {"Retry-After": "10"})

        return guarded

    async def info_refs(self, request: Request, identity: Identity) -> Response:
        """The advertisement of refs; for a push it makes the repository of a new name."""
        service = request.query_params.get("service", "")
        if service not in _PROGRAMS:
            raise UserError("only git's smart protocol is spoken here", "use a git of this century")
        writes = service == "git-receive-pack"
        repo = await (self._writable if writes else self._readable)(request, identity)
        protocol = request.headers.get("git-protocol", "")
        program = service.removeprefix("git-")
        refs = await child.advertise(self.context.paths.repo(repo.id), program, "" if writes else protocol)
        head = (
            b""
            if protocol == "version=2" and not writes
            else pkt_line(f"# service={service}\n".encode()) + FLUSH
        )
        return Response(head + refs, media_type=f"application/x-{service}-advertisement", headers=_NO_CACHE)

    async def upload_pack(self, request: Request, identity: Identity) -> Response:
        """A fetch or a clone."""
        self._check_type(request, "git-upload-pack")
        repo = await self._readable(request, identity)
        body = read_body(request, 64 << 20)
        stream = child.upload(self.context.paths.repo(repo.id), body, request.headers.get("git-protocol", ""))
        first = await anext(stream, b"")  # the head of the response goes out after the request was read

        async def whole() -> AsyncIterator[bytes]:
            yield first
            async for chunk in stream:
                yield chunk

        return StreamingResponse(
            whole(), media_type="application/x-git-upload-pack-result", headers=_NO_CACHE
        )

    async def receive_pack(self, request: Request, identity: Identity) -> Response:
        """A push, and all that follows from it."""
        self._check_type(request, "git-receive-pack")
        owner, name = request.path_params["owner"], request.path_params["name"]
        repo = await self._writable(request, identity)
        chunks = read_body(request, self.context.settings.push_size + (1 << 20))
        kind = "application/x-git-receive-pack-result"
        data, head = await read_head(chunks)
        if not head.commands and data == _PROBE:
            await drain(chunks)
            return Response(b"", media_type=kind, headers=_NO_CACHE)
        receiver = Receiver(self.context, self.images, identity, repo, name)
        received = await receiver.receive(data, head, chunks)
        stream = answer(self.context, received, f"{owner}/{name}", self.closing)
        return StreamingResponse(stream, media_type=kind, headers=_NO_CACHE)

    def _check_type(self, request: Request, service: str) -> None:
        """The exact type: a form or a script of another site cannot send it."""
        if request.headers.get("content-type") != f"application/x-{service}-request":
            raise UserError(f"the content type must be application/x-{service}-request")

    async def _readable(self, request: Request, identity: Identity) -> Repo:
        async with self.context.database.read() as session:
            return await get_readable(
                session, identity.user, request.path_params["owner"], request.path_params["name"]
            )

    async def _writable(self, request: Request, identity: Identity) -> Repo:
        owner, name = request.path_params["owner"], request.path_params["name"]
        async with self.context.database.read() as session:
            known = await find_repo(session, owner, name) is not None
        begin = self.context.database.read if known else self.context.database.write
        async with begin() as session:
            repo = await get_or_make_writable(session, identity.user, owner, name)
        path = self.context.paths.repo(repo.id)
        if not path.exists():
            await in_thread(init_bare, path)
        return repo


def _words(error: UserError) -> str:
    return f"{error}\n" + (f"{error.hint}\n" if error.hint else "")
