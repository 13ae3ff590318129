"""`/api/v1/…`: JSON for programs, with a bearer token and never with a cookie: its table, and its routes."""

from collections import defaultdict
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from hermes.errors import NotFound
from web import (
    api_accounts,
    api_builds,
    api_connect,
    api_functions,
    api_instance,
    api_invoke,
    api_outbox,
    api_repos,
    api_runs,
    api_uploads,
    api_upstream,
    callbacks,
    notification_api,
    schedule_api,
    secret_api,
    visibility,
)
from web.api_page import page_of
from web.endpoint import PREFIX, Content, Endpoint
from web.openapi import Document
from web.site import Site

_DOCUMENT = Content(("application/json",), "the OpenAPI document", {"application/json": {"type": "object"}})


def described(site: Site) -> Document:
    """The table of all of the API, in the order of the documents, and what is said of it."""
    work = (api_invoke, api_uploads, api_outbox, api_functions, callbacks, api_runs, api_builds)
    of_repos = (api_repos, visibility, api_connect, api_upstream)
    triggers = (schedule_api, notification_api)
    nouns = (*work, *of_repos, *triggers, secret_api, api_accounts, api_instance)
    rows = [row for module in nouns for row in module.endpoints(site)]

    async def get_openapi(request: Request) -> Response:
        """This API as an OpenAPI 3.1 document; no token."""
        return JSONResponse(document.whole())

    rows.append(Endpoint("GET", "/openapi.json", get_openapi, content=_DOCUMENT))
    document = Document(rows, site.context.settings.public_url)
    return document


def routes(site: Site) -> list[Route]:
    """One for each path of the table, the page that shows it, and what answers where nothing is."""
    document = described(site)
    by_path: dict[str, dict[str, Endpoint]] = defaultdict(dict)
    for row in document.endpoints:
        by_path[row.path][row.method] = row
    made = [_route(site, path, methods) for path, methods in by_path.items()]
    page = page_of(site, document)
    return [*made, page, Route("/api/{path:path}", Nothing([*made, page]))]


def _route(site: Site, path: str, methods: dict[str, Endpoint]) -> Route:
    async def answer(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await methods[method].reply(site, request)

    return Route(PREFIX + path, answer, methods=list(methods))


class Nothing:
    """The answer below `/api` to what no row of the table answers: 405 or 404, in the shape of all errors."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Always raises."""
        for route in self._routes:
            if route.path_regex.match(scope["path"]):
                raise HTTPException(405, headers={"Allow": ", ".join(sorted(route.methods or ()))})
        raise NotFound("there is no such address in the API", f"{PREFIX}/openapi.json lists all of them")
