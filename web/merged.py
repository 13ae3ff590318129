"""`/runs/{n}/logs`: the logs of all ranks as one text, rank after rank or line by line as they came."""

import heapq
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from itertools import islice

from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hermes import logs
from hermes.errors import UserError
from hermes.marks import line_marks
from hermes.removals import Data, refuse_removed
from hermes.tables import Rank
from hermes.threads import in_thread
from web.lookup import find_run
from web.ranklog import RankLog
from web.rawlog import HEADERS
from web.site import Site, number

_BATCH_LINES = 2000
_HELD_BYTES = 16 << 20  # of all ranks together while they are merged
_ORDERS = ("rank", "time")


def timed_lines(log: RankLog, read_bytes: int) -> Iterator[tuple[float, int, bytes]]:
    """`(when it began, rank, line)` in order; a line that is longer than `read_bytes` comes in pieces."""
    offset, begins_line, at = 0, True, 0.0
    while data := logs.read(log.path, offset, read_bytes):
        end = data.rfind(b"\n") + 1 or len(data)
        data = data[:end]
        marks = line_marks(log.path, offset, data, begins_line)
        for number_in_data, line in enumerate(data.splitlines(keepends=True)):
            while marks and marks[0].line <= number_in_data:
                at = max(at, marks.pop(0).at)
            yield at, log.number, line
        begins_line = data.endswith(b"\n")
        offset += len(data)


def by_time(ranks: list[RankLog]) -> Iterator[bytes]:
    """Each line with its rank before it."""
    width = len(str(ranks[-1].number))
    read_bytes = max(_HELD_BYTES // len(ranks), 4096)
    for _, rank, line in heapq.merge(*(timed_lines(each, read_bytes) for each in ranks)):
        yield b"[%*d] %s" % (width, rank, line if line.endswith(b"\n") else line + b"\n")


def by_rank(ranks: list[RankLog]) -> Iterator[bytes]:
    """Each log below a line that names its rank."""
    for rank in ranks:
        yield b"=== rank %d ===\n" % rank.number
        offset, data = 0, b"\n"
        while piece := logs.read(rank.path, offset):
            offset, data = offset + len(piece), piece
            yield data
        if not data.endswith(b"\n"):
            yield b"\n"


async def _sent(lines: Iterator[bytes]) -> AsyncGenerator[bytes]:
    while batch := await in_thread(lambda: b"".join(islice(lines, _BATCH_LINES))):
        yield batch


async def all_logs(site: Site, request: Request) -> Response:
    """What they have printed until now."""
    user = await site.reader(request)
    order = request.query_params.get("order", "rank")
    if order not in _ORDERS:
        raise UserError(f"there is no order '{order}'", f"order is one of: {', '.join(_ORDERS)}")
    async with site.context.database.read() as session:
        run, _ = await find_run(session, user, number(request.path_params, "run"))
        of_run = select(Rank.number, Rank.id, Rank.attempt).where(Rank.run_id == run.id).order_by(Rank.number)
        rows = (await session.execute(of_run)).all()
        await refuse_removed(session, Data.LOGS, run.id)
    ranks = [RankLog(at, site.context.paths.log("rank", row_id, attempt)) for at, row_id, attempt in rows]
    lines = by_time(ranks) if order == "time" else by_rank(ranks)
    return StreamingResponse(_sent(lines), headers=HEADERS, media_type="text/plain")


def routes(site: Site) -> list[Route]:
    """Who may see a repo may read its logs."""
    return [Route("/runs/{run}/logs", partial(all_logs, site))]
