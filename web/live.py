"""Server-sent events of builds and runs. The id `<attempt>.<byte offset>` resumes byte-exactly."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from web.eventstream import EventStream
from web.feed import Feed, Position, parse_position
from web.frames import Frames
from web.numbered import Numbered
from web.site import Site
from web.subjects import Open, build_subject, feed_for, run_subject


async def _events(feed: Feed, after: Position | None, frames: Frames) -> AsyncGenerator[bytes]:
    async with aclosing(feed.items(after)) as items:
        async for item in items:
            yield await frames.of(item)


def events_of(site: Site, open_subject: Open) -> Callable[[Request], Awaitable[Response]]:
    """The handler of `…/events`."""

    async def answer(request: Request) -> Response:
        subject = await open_subject(site, request)
        sight = await subject.look()
        feed = feed_for(site, request, open_subject, subject, sight)
        after = parse_position(request.headers.get("last-event-id") or request.query_params.get("after"))
        numbered = None
        if request.query_params.get("lines") == "1":
            log_of = partial(site.context.paths.log, sight.kind, sight.row_id)
            numbered = Numbered(log_of, site.line_indexes)
            after = await numbered.near_end(after)
        stream = EventStream(_events(feed, after, Frames(numbered)), feed.leave)
        return site.streams.bounded(request, stream)

    return answer


def routes(site: Site) -> list[Route]:
    """Who may see a repo may watch what it does."""
    return [
        Route("/runs/{run}/events", events_of(site, run_subject)),
        Route("/builds/{build}/events", events_of(site, build_subject)),
    ]
