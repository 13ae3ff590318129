"""`/runs/{run}/result`: what an invoked program wrote to stdout, to look at in place or to download."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.threads import in_thread
from web.files import HEADERS
from web.invoke import find_result
from web.media import LOOK_BYTES, media_of
from web.rawlog import slice_of
from web.site import Site


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(LOOK_BYTES)
    except FileNotFoundError:
        return b""


async def result(site: Site, request: Request) -> Response:
    """All of it or a range; `inline=1`: as what its first bytes are, where that can be shown in place."""
    path, name = await find_result(site, request, await site.reader(request))
    kind = None
    if request.query_params.get("inline") == "1":
        kind = media_of(await in_thread(_head, str(path)), name).content_type
    answer = slice_of(request, path, name, kind or "application/octet-stream")
    answer.headers.update(HEADERS)
    return answer


def routes(site: Site) -> list[Route]:
    """Who may see a repo may have what its runs wrote."""
    return [Route("/runs/{run}/result", partial(result, site))]
