"""`/metrics` for Prometheus: open to the networks of HERMES_METRICS, to others with an admin's token."""

import ipaddress

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.errors import Refused
from web.site import Site
from web.visitor import address, bearer, program, sign_in_needed

_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")
_HOW = "metrics are for the networks of HERMES_METRICS, and for admins with a token"


def routes(site: Site) -> list[Route]:
    """No names of users or repositories are in it."""
    networks = [
        ipaddress.ip_network(each, strict=False)
        for each in site.context.settings.metrics.split(",")
        if each not in ("", "none")
    ]

    def is_near(request: Request) -> bool:
        """What a proxy on this machine passes on comes from elsewhere, also if nobody has told us of it."""
        if not site.context.settings.proxies and any(name in request.headers for name in _FORWARDED):
            return False
        try:
            where = ipaddress.ip_address(address(request))
        except ValueError:
            return False
        where = getattr(where, "ipv4_mapped", None) or where
        return any(where in network for network in networks)

    async def metrics(request: Request) -> Response:
        if not is_near(request):
            if bearer(request) is None:
                raise sign_in_needed(_HOW)
            if not (await program(request, site.context)).user.is_admin:
                raise Refused(_HOW, "use the token of an admin")
        text = await site.exporter.text()
        return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return [Route("/metrics", metrics)]
