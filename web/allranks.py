"""`/runs/{n}/logs/…`: the logs of all ranks as one for the viewer; asked again and again while they grow.

Rows have numbers in an order (`order=rank|time`), lines have their rank and their own number, which stays.
Of very many ranks, 256 are shown together, from the position `first` on."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hermes.removals import Data, refuse_removed
from hermes.states import TERMINAL
from hermes.tables import Rank, Run
from hermes.threads import in_thread
from web.excerpt import NOT_READ, Excerpt
from web.lookup import find_run
from web.ranklog import MOST_RANKS, Order, Piece, RankLog
from web.rows import LINE_BYTES, MOST_LINES, read_rows
from web.search import LIMIT_S, pattern_of, search
from web.search import MOST_LINES as MOST_FOUND
from web.site import Site, as_number, number
from web.terminal import render

_AT_A_TIME = 2
_SHOWN_ROWS = 400
_MOST_BYTES, _PIECE_COST = 1 << 20, 2000
_TOLD = ("first", "sgr", "lines", "marks", "cut")


@dataclass(frozen=True)
class Shown:
    """What a page says of the ranks that it shows together."""

    order: str
    start: int  # the position of the first
    first: int
    last: int

    @property
    def query(self) -> str:
        """For the parts of it."""
        return f"order={self.order}&first={self.start}"


class Together:
    """The logs of up to 256 ranks in one order, as far as they go now."""

    def __init__(self, site: Site, run: Run, order: Order, ranks: list[RankLog]) -> None:
        self._site, self.run, self.order = site, run, order
        self.ranks = {rank.number: rank for rank in ranks}

    def rows(self, first: int, count: int) -> dict[str, Any]:
        """Up to `count` rows from `first` on (before 0: so many from the end), fewer if large. Blocks."""
        self.order.take(list(self.ranks.values()))
        rows = self.order.rows(first, count)
        told = rows._asdict() | {"first": rows.first + 1, "pieces": list(self._read(rows.pieces))}
        over = self.run.state in TERMINAL
        return told | {"ended": over, "state": self.run.state, "heads": self.outline()["heads"]}

    def _read(self, pieces: list[Piece]) -> Iterator[dict[str, Any]]:
        left = _MOST_BYTES
        for piece in pieces:
            path = self.ranks[piece.rank].path
            index = self._site.line_indexes.of(path)
            most_bytes = min(left, max(4 * LINE_BYTES, piece.lines << 8))
            rows = read_rows(path, index, piece.first, piece.lines, most_bytes)
            told = rows.as_json(0)
            yield {"rank": piece.rank} | {name: told[name] for name in _TOLD}
            left -= sum(map(len, rows.lines)) + _PIECE_COST
            if len(rows.lines) < piece.lines or left < LINE_BYTES:
                return

    def found(self, pattern: Any) -> dict[str, Any]:
        """The rows that match. Blocks."""
        self.order.take(list(self.ranks.values()))
        found: dict[int, list[int]] = {}
        count, whole, limit_s = 0, True, LIMIT_S
        for rank in self.ranks.values():
            part = search(rank.path, pattern, max(limit_s, 0.0))
            limit_s -= part.took_s
            found[rank.number] = part.lines
            count, whole = count + part.count, whole and part.whole
        rows = sorted(row + 1 for row in self.order.rows_of(found))
        return {"lines": rows[:MOST_FOUND], "count": count, "whole": whole}

    def excerpt(self) -> Excerpt:
        """The newest rows, for a page. Blocks."""
        rows = self.rows(-_SHOWN_ROWS, _SHOWN_ROWS)
        lines = [line for piece in rows["pieces"] for line in render("\n".join(piece["lines"]), piece["sgr"])]
        labels = [
            (piece["rank"], piece["first"] + at)
            for piece in rows["pieces"]
            for at in range(len(piece["lines"]))
        ]
        left_out = rows["first"] > 1 or rows["left_out"]
        numbers = list(range(rows["first"], rows["first"] + len(lines)))
        problems = NOT_READ | {"whole": True}  # with each rank; the heads are all that is outlined here
        return Excerpt(lines, numbers, 0, left_out, 0, problems, self.order.heads(), labels)

    def outline(self) -> dict[str, Any]:
        """Only what divides the rows: groups and diagnostics are with each rank."""
        heads = [head.as_json() for head in self.order.heads()]
        return {
            "groups": [],
            "heads": heads,
            "counts": {},
            "diagnostics": [],
            "drawn": [],
            "drawn_to": None,
            "whole": True,
        }


async def together(site: Site, request: Request) -> Together:
    """Of `/runs/{run}/logs/…?order=&first=`. Raises SignInNeeded, NotFound, Gone."""
    user = await site.reader(request)
    asked = request.query_params
    first = number(asked, "first") // MOST_RANKS * MOST_RANKS
    async with site.context.database.read() as session:
        run, _place = await find_run(session, user, number(request.path_params, "run"))
        of_run = select(Rank.number, Rank.id, Rank.attempt, Rank.state).where(
            Rank.run_id == run.id, Rank.position >= first, Rank.position < first + MOST_RANKS
        )
        rows = (await session.execute(of_run.order_by(Rank.position))).all()
        if run.state in TERMINAL:
            await refuse_removed(session, Data.LOGS, run.id)
    log = partial(site.context.paths.log, "rank")
    ranks = [RankLog(at, log(row_id, attempt), str(state)) for at, row_id, attempt, state in rows]
    orders = site.by_rank if asked.get("order") == "rank" else site.by_time
    return Together(site, run, orders.of((run.id, first)), ranks)


async def look_at_all(site: Site, request: Request) -> tuple[Shown, Excerpt]:
    """What a page shows of them."""
    all_of_them = await together(site, request)
    order = "rank" if request.query_params.get("order") == "rank" else "time"
    start = number(request.query_params, "first") // MOST_RANKS * MOST_RANKS
    shown = Shown(order, start, min(all_of_them.ranks, default=0), max(all_of_them.ranks, default=0))
    return shown, await in_thread(all_of_them.excerpt)


async def _lines(request: Request, all_of_them: Together) -> Any:
    asked = request.query_params.get("from", "")
    first = -as_number(asked[1:]) if asked.startswith("-") else max(as_number(asked) - 1, 0)
    count = min(number(request.query_params, "count") or MOST_LINES, MOST_LINES)
    return await in_thread(all_of_them.rows, max(first, -MOST_LINES), count)


async def _found(request: Request, all_of_them: Together) -> Any:
    asked = request.query_params
    pattern = pattern_of(asked.get("q", ""), asked.get("regex") == "1", asked.get("case") == "1")
    return await in_thread(all_of_them.found, pattern)


async def _outline(_request: Request, all_of_them: Together) -> Any:
    return await in_thread(all_of_them.outline)


async def _where(request: Request, all_of_them: Together) -> Any:
    """The row of `line` of `rank`; 0: it is not there."""
    line = number(request.query_params, "line") - 1
    order = all_of_them.order
    await in_thread(order.take, list(all_of_them.ranks.values()))
    rows = await in_thread(order.rows_of, {number(request.query_params, "rank"): [line]})
    return {"row": rows[0] + 1 if rows else 0}


def routes(site: Site) -> list[Route]:
    """Who may see a repo may read its logs."""
    places = asyncio.Semaphore(_AT_A_TIME)

    def of(part: Callable[..., Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            all_of_them = await together(site, request)
            async with places:
                return JSONResponse(await part(request, all_of_them))

        return answer

    parts = {"lines": _lines, "search": _found, "outline": _outline, "where": _where}
    return [Route(f"/runs/{{run}}/logs/{name}", of(part)) for name, part in parts.items()]
