"""Parts of a log for viewers that never hold all of it: `…/log/lines`, `…/log/search`, `…/log/outline`."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hermes.threads import in_thread
from web.gone import check_log
from web.rows import MOST_LINES, read_rows
from web.search import pattern_of, search
from web.site import Site, as_number, number
from web.subjects import Open, build_subject, run_subject

_AT_A_TIME = 2  # searches and outlines: each takes a core
Part = Callable[[Site, Request, Path, int], Awaitable[Any]]


async def lines(site: Site, request: Request, log: Path, attempt: int) -> Any:
    """`from` a line (from 1; before 0: so many from the end) `count` lines."""
    asked = request.query_params.get("from", "")
    first = -as_number(asked[1:]) if asked.startswith("-") else as_number(asked) - 1
    count = min(number(request.query_params, "count") or MOST_LINES, MOST_LINES)
    index = site.line_indexes.of(log)
    return (await in_thread(read_rows, log, index, max(first, -MOST_LINES), count)).as_json(attempt)


async def found(_site: Site, request: Request, log: Path, _attempt: int) -> Any:
    """Lines that hold `q`; `regex=1`, `case=1`."""
    asked = request.query_params
    pattern = pattern_of(asked.get("q", ""), asked.get("regex") == "1", asked.get("case") == "1")
    return (await in_thread(search, log, pattern)).as_json()


async def outline(site: Site, _request: Request, log: Path, _attempt: int) -> Any:
    """Groups and diagnostics."""
    return (await in_thread(site.outlines.of(log).look, site.line_indexes.of(log))).as_json()


def routes(site: Site) -> list[Route]:
    """Who may see a repo may read its logs."""
    places = asyncio.Semaphore(_AT_A_TIME)

    def of(open_subject: Open, part: Part) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            subject = await open_subject(site, request)
            sight = await subject.look()
            attempt = number(request.query_params, "attempt") or sight.attempt
            log = site.context.paths.log(sight.kind, sight.row_id, attempt)
            await check_log(site, sight.kind, sight.row_id, log)
            if part is lines:
                return JSONResponse(await part(site, request, log, attempt))
            async with places:
                return JSONResponse(await part(site, request, log, attempt))

        return answer

    parts: dict[str, Part] = {"lines": lines, "search": found, "outline": outline}
    return [
        Route(f"{address}/log/{name}", of(open_subject, part))
        for address, open_subject in (("/runs/{run}", run_subject), ("/builds/{build}", build_subject))
        for name, part in parts.items()
    ]
