"""`/queue`: the whole order of what waits, with reasons, and whose turn it is."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.fairness import TURN_S
from hermes.order import read_order
from hermes.waiting import ordinal
from web.site import Site, number

_PER_PAGE = 50


def routes(site: Site) -> list[Route]:
    """Every user: what they may not see has its place and its user, and nothing more."""

    async def queue(request: Request) -> Response:
        user = await site.user(request)
        skip = number(request.query_params, "after")
        async with site.context.database.read() as session:
            order = await read_order(session, user, skip, _PER_PAGE)
        place = ordinal(order.first)
        return site.page(request, "queue.html", order=order, place=place, skip=skip, turn_s=TURN_S)

    return [Route("/queue", queue)]
