"""The routes of git over HTTP: `/{owner}/{name}.git/…`, smart protocol only."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from dulwich.protocol import pkt_line
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from gitserver import lfs
from gitserver.access import Caller, SignInNeeded, ask_for_token, enter
from gitserver.body import Body, declared_bytes, read_body
from gitserver.door import Door
from gitserver.head import read_head
from gitserver.protocol import CANNOT, FLUSH, BadProtocol, PushHead, last_words
from gitserver.push import Receiver
from gitserver.stream import answer, at_once
from hermes.errors import DiskFull, TooMany, Unavailable, UserError
from hermes.journal import log
from hermes.tables import Repo

_NO_CACHE = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "X-Accel-Buffering": "no"}
_PROGRAMS = ("git-receive-pack", "git-upload-pack")
_MAX_FETCH_BYTES = 64 << 20  # of a request that says what the client has and wants
_HEAD_BYTES = 1 << 20  # commands before a pack
_SMALL_BYTES = 1 << 20  # git's http.postBuffer: larger ones come in pieces
_RESULT = "application/x-git-receive-pack-result"
_FETCHED = "application/x-git-upload-pack-result"
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class GitServer:
    """The handlers; `closing` ends the streams when the service stops."""

    door: Door
    closing: asyncio.Event

    def routes(self) -> list[Route]:
        """To be mounted before the pages."""
        base = "/{owner}/{name}.git"
        return [
            Route(f"{base}/info/refs", self._guard(self.info_refs), methods=["GET"]),
            Route(f"{base}/git-receive-pack", self._guard(self.receive_pack), methods=["POST"]),
            Route(f"{base}/git-upload-pack", self._guard(self.upload_pack), methods=["POST"]),
            Route(f"{base}/info/lfs/{{path:path}}", lfs.answer, methods=["GET", "POST"]),
            Route("/{owner}/{name}/info/refs", _to_its_address, methods=["GET"]),
        ]

    def _guard(self, handler: Handler) -> Handler:
        """Every error as words that git shows."""

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except SignInNeeded:
                return ask_for_token()
            except (TooMany, DiskFull) as error:
                return PlainTextResponse(_words(error), error.status, {"Retry-After": str(error.wait_s)})
            except UserError as error:
                return PlainTextResponse(_words(error), error.status)
            except BadProtocol as error:
                return PlainTextResponse(f"not a git request: {error}\n", 400)
            except Unavailable as error:
                log.warning("git request failed", path=request.url.path, error=str(error))
                return PlainTextResponse(f"{CANNOT}\n", 503, {"Retry-After": "10"})

        return guarded

    async def info_refs(self, request: Request) -> Response:
        """The advertisement of refs; for a push it makes the repository of a new name."""
        service = request.query_params.get("service", "")
        if service not in _PROGRAMS:
            raise UserError("only git's smart protocol is spoken here", "use a git of this century")
        writes = service == "git-receive-pack"
        _, repo = await self._enter(request, writes=writes)
        protocol = request.headers.get("git-protocol", "")
        program = service.removeprefix("git-")
        path = self.door.context.paths.repo(repo.id)
        refs = await self.door.git.advertise(path, program, "" if writes else protocol)
        head = (
            b""
            if "version=2" in protocol.split(":") and not writes
            else pkt_line(f"# service={service}\n".encode()) + FLUSH
        )
        return Response(head + refs, media_type=f"application/x-{service}-advertisement", headers=_NO_CACHE)

    async def upload_pack(self, request: Request) -> Response:
        """A fetch or a clone."""
        self._check_type(request, "git-upload-pack")
        body = Body(read_body(request, _MAX_FETCH_BYTES, "request"), self.door.context.settings.push_time)
        try:
            caller, repo = await self._enter(request, writes=False)
        except Unavailable as error:
            return await _say_no(request, error, body, _FETCHED, has_sideband=False)
        path, protocol = self.door.context.paths.repo(repo.id), request.headers.get("git-protocol", "")
        stream = self.door.git.upload(path, body, protocol, caller.key, "--stateless-rpc")
        first = await anext(stream, b"")  # the head of the response goes out after the request was read

        async def whole() -> AsyncIterator[bytes]:
            async with aclosing(stream):
                yield first
                async for chunk in stream:
                    yield chunk

        return StreamingResponse(whole(), media_type=_FETCHED, headers=_NO_CACHE)

    async def receive_pack(self, request: Request) -> Response:
        """A push, and all that follows from it."""
        self._check_type(request, "git-receive-pack")
        settings = self.door.context.settings
        body = Body(read_body(request, settings.push_size, "push", _HEAD_BYTES), settings.push_time)
        head: PushHead | None = None
        try:
            caller, repo = await self._enter(request, writes=True)
            head = await read_head(body)
            return await self._receive(
                request, Receiver(self.door, caller, repo, *_names(request)), head, body
            )
        except Unavailable as error:
            head = head or await read_head(body)
            return await _say_no(request, error, body, _RESULT, has_sideband=head.has_sideband)

    async def _receive(self, request: Request, receiver: Receiver, head: PushHead, body: Body) -> Response:
        if not head.commands:  # git's probe, to see whether its credentials work
            await body.discard()
            return _result(b"")
        received = await receiver.receive(head, body)
        if all_ := at_once(received):
            return _result(all_)
        stream = answer(self.door.context, received, "/".join(_names(request)), self.closing)
        return StreamingResponse(stream, media_type=_RESULT, headers=_NO_CACHE)

    def _check_type(self, request: Request, service: str) -> None:
        """The exact type: a form or a script of another site cannot send it."""
        if request.headers.get("content-type") != f"application/x-{service}-request":
            raise UserError(f"the content type must be application/x-{service}-request")

    async def _enter(self, request: Request, *, writes: bool) -> tuple[Caller, Repo]:
        return await enter(request, self.door.context, *_names(request), writes=writes)


def _names(request: Request) -> tuple[str, str]:
    return request.path_params["owner"], request.path_params["name"]


def _is_small(request: Request) -> bool:
    """Whether what is left of it is soon read."""
    declared = declared_bytes(request)
    return declared is not None and declared <= _SMALL_BYTES


async def _say_no(
    request: Request, error: Unavailable, body: Body, kind: str, *, has_sideband: bool
) -> Response:
    """As over SSH: of a status git shows nothing but its number. Raises the error where too much would have
    to be read first."""
    if not _is_small(request):
        raise error
    log.warning("git request failed", path=request.url.path, error=str(error))
    with suppress(UserError):
        await body.discard()
    return Response(last_words(CANNOT, has_sideband), media_type=kind, headers=_NO_CACHE)


def _result(said: bytes) -> Response:
    return Response(said, media_type=_RESULT, headers=_NO_CACHE)


async def _to_its_address(request: Request) -> Response:
    """Somebody clones the address of a page, without `.git`; git follows, and says so."""
    owner, name = request.path_params["owner"], request.path_params["name"]
    return RedirectResponse(f"/{owner}/{name}.git/info/refs?{request.url.query}", 301)


def _words(error: UserError) -> str:
    return f"{error}\n" + (f"{error.hint}\n" if error.hint else "")
