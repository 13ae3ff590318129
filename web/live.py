"""Server-sent events of builds and runs. The id `<attempt>.<byte offset>` resumes byte-exactly."""

import codecs
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from web.feed import (
    Began,
    Changed,
    Ended,
    Feed,
    Item,
    Paused,
    Position,
    Printed,
    Sight,
    parse_position,
)
from web.numbered import Numbered
from web.site import Site
from web.subjects import Open, build_subject, feed_for, run_subject

_PING_S = 15
_SEND_TIMEOUT_S = 30.0  # a viewer that does not read for so long is let go; it resumes when it comes back
_GRACE_S = 3.0  # for a stream to say goodbye when the service stops
_RETRY_MS = 2000


class _Text:
    """Bytes to text without ever cutting a character: its first bytes wait for the others."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def event(self, item: Printed) -> ServerSentEvent | None:
        text = self._decoder.decode(item.data)
        held = len(self._decoder.getstate()[0])
        return _printed(text, item.attempt, item.offset - held) if text else None

    def rest(self, position: Position) -> ServerSentEvent | None:
        """What stays incomplete when its log has ended."""
        text = self._decoder.decode(b"", final=True)
        return _printed(text, *position) if text else None


def _printed(text: str, attempt: int, offset: int) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(text), event="log", id=f"{attempt}.{offset}")


def _state(sight: Sight) -> str:
    told = {"state": sight.state, "words": sight.words, "exit_code": sight.exit_code}
    return json.dumps(told | {"watching": sight.watching})


async def events(
    feed: Feed, after: Position | None, numbered: Numbered | None = None
) -> AsyncGenerator[ServerSentEvent]:
    """The items of a feed as events; with `numbered`, an event `lines` before each piece of the log."""
    text, position = _Text(), Position(0, 0)
    async with aclosing(feed.items(after)) as items:
        async for item in items:
            if isinstance(item, Printed):
                position = Position(item.attempt, item.offset)
                event = text.event(item)
                if event and numbered:
                    yield ServerSentEvent(json.dumps(await numbered.about(item)), event="lines")
            else:
                if isinstance(item, Began | Ended) and (rest := text.rest(position)):
                    yield rest
                event = _other(item)
            if event is not None:
                yield event


def _other(item: Item) -> ServerSentEvent | None:
    match item:
        case Changed(sight):
            return ServerSentEvent(_state(sight), event="state")
        case Began(attempt):
            return ServerSentEvent(json.dumps({"attempt": attempt}), event="attempt", id=f"{attempt}.0")
        case Ended(sight):
            return ServerSentEvent(_state(sight), event="end")
        case Paused():
            return ServerSentEvent("{}", event="reconnect", retry=_RETRY_MS)
    return None


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
        stream = EventSourceResponse(
            events(feed, after, numbered),
            ping=_PING_S,
            send_timeout=_SEND_TIMEOUT_S,
            shutdown_event=anyio.Event(),
            shutdown_grace_period=_GRACE_S,
        )
        return site.streams.bounded(request, stream)

    return answer


def routes(site: Site) -> list[Route]:
    """Who may see a repo may watch what it does."""
    return [
        Route("/runs/{run}/events", events_of(site, run_subject)),
        Route("/builds/{build}/events", events_of(site, build_subject)),
    ]
