"""The bytes of a log as they are: whole, a range of them, or as they come."""

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hermes import logs
from hermes.threads import in_thread
from web.feed import Began, Feed, Position, Printed
from web.files import disposition
from web.gone import check_log
from web.ranges import OutOfRange, no_such_range, parse_range
from web.sights import Sight
from web.site import Site, number
from web.subjects import Open, build_subject, feed_for, run_subject

_SMALL_BYTES = 4096
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Accept-Ranges": "bytes",
    "X-Accel-Buffering": "no",
}


async def _gzip(data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A third of the time on a wire of 100 Mbit/s; the fastest level, in a thread."""
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    async for piece in data:
        if squeezed := await in_thread(squeeze.compress, piece):
            yield squeezed
    yield squeeze.flush()


async def _read(path: Path, start: int, end: int) -> AsyncIterator[bytes]:
    while start < end:
        data = await in_thread(logs.read, path, start, min(logs.CHUNK_BYTES * 4, end - start))
        if not data:
            return
        start += len(data)
        yield data


def slice_of(request: Request, path: Path, name: str, media_type: str = "text/plain") -> Response:
    """What is there now, or the part that was asked for; all of it compressed for who takes that."""
    size = logs.size_bytes(path)
    try:
        part = parse_range(request.headers.get("range", ""), size)
    except OutOfRange:
        return no_such_range(size)
    start, end = part or (0, size)
    headers = HEADERS | {"Content-Length": str(end - start), "Vary": "Accept-Encoding"}
    if request.query_params.get("download") == "1":
        headers["Content-Disposition"] = disposition("attachment", name)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    body: Iterator[bytes] | AsyncIterator[bytes] = iter(())
    if request.method != "HEAD":
        body = _read(path, start, end)
        if not part and size > _SMALL_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
            body = _gzip(body)
            headers["Content-Encoding"] = "gzip"
            del headers["Content-Length"]
    return StreamingResponse(body, 206 if part else 200, headers, media_type)


async def _follow(feed: Feed, offset: int, sight: Sight) -> AsyncGenerator[bytes]:
    """From `offset` of the attempt that is the newest now, through those after it, to the end."""
    async with aclosing(feed.items(Position(sight.attempt, offset))) as items:
        async for item in items:
            if isinstance(item, Printed):
                yield item.piece.data
            elif isinstance(item, Began) and item.attempt > 1:
                yield f"\n[hermes: attempt {item.attempt}]\n".encode()


def _name(request: Request, attempt: int) -> str:
    """`run-57.log`; of another rank or attempt than the first `run-57-rank-3-attempt-2.log`."""
    kind, row_id = next(iter(request.path_params.items()))
    rank = number(request.query_params, "rank")
    return f"{kind}-{row_id}" + f"-rank-{rank}" * (rank > 0) + f"-attempt-{attempt}" * (attempt > 1) + ".log"


def log_of(site: Site, open_subject: Open) -> Callable[[Request], Awaitable[Response]]:
    """The handler of `…/log`."""

    async def answer(request: Request) -> Response:
        subject = await open_subject(site, request)
        sight = await subject.look()
        if request.query_params.get("follow") == "1" and request.method == "GET":
            feed = feed_for(site, request, open_subject, subject, sight)
            stream = _follow(feed, number(request.query_params, "offset"), sight)
            answer = StreamingResponse(stream, headers=HEADERS, media_type="text/plain")
            return site.streams.bounded(request, answer)
        attempt = number(request.query_params, "attempt") or sight.attempt
        path = site.context.paths.log(sight.kind, sight.row_id, attempt)
        await check_log(site, sight.kind, sight.row_id, path)
        return slice_of(request, path, _name(request, attempt))

    return answer


def routes(site: Site) -> list[Route]:
    """Who may see a repo may read its logs."""
    return [
        Route("/runs/{run}/log", log_of(site, run_subject)),
        Route("/builds/{build}/log", log_of(site, build_subject)),
    ]
