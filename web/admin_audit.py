"""`/admin/audit`: who did what that matters later, filtered and a page at a time. For admins only."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.audit import ACTS, Search, read_audit
from web.site import Site, number

_PER_PAGE = 100
_MOST_TYPED = 200


def routes(site: Site) -> list[Route]:
    """For admins; there is no such page for anybody else."""

    async def audit(request: Request) -> Response:
        await site.admin(request)
        asked = request.query_params
        typed = {name: asked.get(name, "").strip()[:_MOST_TYPED] for name in Search._fields}
        async with site.context.database.read() as session:
            rows = await read_audit(session, Search(**typed), number(asked, "before"), _PER_PAGE + 1)
        kept = {name: value for name, value in typed.items() if value}
        more = len(rows) > _PER_PAGE
        older = urlencode(kept | {"before": str(rows[_PER_PAGE - 1].id)}) if more else ""
        values = {"rows": rows[:_PER_PAGE], "search": typed, "acts": ACTS, "older": older}
        return site.page(request, "audit.html", is_newest="before" not in asked, **values)

    return [Route("/admin/audit", audit, methods=["GET"])]
