"""`/functions/{owner}/{function}/uploads/parts…`: tus 1.0 (web.tus) for the page of uploads, whose browser
shows its cookie and not a token: a large file that was cut off goes on where it was."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hermes.errors import DiskFull, TooMany, UserError
from hermes.functions import LATEST, FunctionName, parse_function
from hermes.uploads import Uploads
from web.endpoint import Asked
from web.site import Site, number
from web.tus import Parts

_Handler = Callable[[Asked], Awaitable[Response]]


def function_of(request: Request) -> FunctionName:
    """Of the address, and `?version=` a version, branch, tag or commit."""
    name = parse_function("{owner}/{function}".format(**request.path_params))
    return name._replace(what=request.query_params.get("version", "").strip() or LATEST)


def refused(error: UserError) -> Response:
    """For a script, which shows the words beside the file."""
    words = {"error": {"code": error.code, "message": str(error), "hint": error.hint}}
    later = {"Retry-After": str(error.wait_s)} if isinstance(error, TooMany | DiskFull) else {}
    return JSONResponse(words, error.status, later)


@dataclass(frozen=True)
class PartPages:
    """The handlers."""

    site: Site
    parts: Parts

    async def announce(self, request: Request) -> Response:
        """A file that is to come."""

        async def begin(asked: Asked) -> Response:
            begun = await self.parts.begin(asked, function_of(request))
            return Response(status_code=201, headers=self.parts.headers(Location=f"parts/{begun}"))

        return await self._answer(request, begin)

    async def look(self, request: Request) -> Response:
        """How much of it is here."""
        upload = number(request.path_params, "upload")
        return await self._answer(request, lambda asked: self.parts.look(asked, upload))

    async def go_on(self, request: Request) -> Response:
        """More of it; the last of it starts the run."""
        upload = number(request.path_params, "upload")
        return await self._answer(request, lambda asked: self.parts.go_on(asked, upload))

    async def _answer(self, request: Request, handler: _Handler) -> Response:
        who = await self.site.visitor(request)
        try:
            return await handler(Asked(request, who.user, who.token))
        except UserError as error:
            return refused(error)


def routes(site: Site, uploads: Uploads) -> list[Route]:
    """For who is signed in; of each only what they have announced."""
    pages, all_ = PartPages(site, Parts(site, uploads)), "/functions/{owner}/{function}/uploads/parts"
    return [
        Route(all_, pages.announce, methods=["POST"]),
        Route(f"{all_}/{{upload}}", pages.look, methods=["HEAD"]),
        Route(f"{all_}/{{upload}}", pages.go_on, methods=["PATCH"]),
    ]
