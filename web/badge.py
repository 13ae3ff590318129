"""`/{owner}/{repo}/badge.svg`: how the newest commit of a branch went, or its metric, as a picture."""

import hashlib
from functools import partial
from html import escape
from urllib.parse import quote, urlencode

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.errors import NotFound
from hermes.repos import get_readable
from hermes.states import State
from hermes.tables import Repo
from web.files import is_known
from web.history import history, newest_built
from web.look import state_words
from web.metrics import metrics_of
from web.site import Site
from web.trend import measured_words
from web.visitor import SignInNeeded

_MAX_AGE_S = 60
_LOOKED_AT = 20  # pushes, for one whose run has printed the metric
_GREY, _BLUE = "#5d666f", "#1766c8"
_COLOURS = {
    State.SUCCEEDED: "#1b7f46",
    State.BUILT: "#1b7f46",
    State.FAILED: "#c0262d",
    State.TIMED_OUT: "#b2520a",
    State.LOST: "#7a3fb0",
    State.CANCELLED: _GREY,
    State.QUEUED: "#8a6500",
}
_NARROW, _WIDE = frozenset("fijlrtI.,:;!|'()[]/ -"), frozenset("mwMW@%")
_MOST_LETTERS = 40


def _width(text: str) -> int:
    """Of 11 px letters in Verdana or DejaVu Sans, about; the picture says it, so letters are fitted to it."""
    return round(sum(4.2 if each in _NARROW else 10.5 if each in _WIDE else 7.0 for each in text))


def draw(label: str, words: str, colour: str) -> str:
    """An SVG without style sheets, scripts and anything from elsewhere."""
    label, words = label[:_MOST_LETTERS], words[:_MOST_LETTERS]
    left, right = _width(label), _width(words)
    split, width = left + 12, left + right + 24
    label, words = escape(label), escape(words)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" '
        f'aria-label="{label}: {words}"><title>{label}: {words}</title>'
        f'<rect width="{width}" height="20" rx="3" fill="#30363b"/>'
        f'<path d="M{split} 0h{right + 9}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right + 9}z" fill="{colour}"/>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="6" y="14" textLength="{left}" lengthAdjust="spacingAndGlyphs">{label}</text>'
        f'<text x="{split + 6}" y="14" textLength="{right}" lengthAdjust="spacingAndGlyphs">{words}</text>'
        "</g></svg>\n"
    )


def badge_markdown(public_url: str, path: str, branch: str) -> str:
    """What to put into a README: the badge, which leads to the newest commit."""
    query = f"?{urlencode({'branch': branch}, quote_via=quote)}" if branch else ""
    page = f"{public_url}/{path}"
    return f"[![{path.rpartition('/')[2]}]({page}/badge.svg{query})]({page}/latest{query})"


async def _state(session: AsyncSession, repo: Repo, branch: str) -> str:
    newest = await newest_built(session, repo, branch)
    if newest is None or newest.state is None:
        return draw(repo.name, "nothing built", _GREY)
    return draw(repo.name, state_words(newest.state), _COLOURS.get(newest.state, _BLUE))


async def _metric(session: AsyncSession, repo: Repo, branch: str, name: str) -> str:
    runs = [each.run.id for each in await history(session, repo, _LOOKED_AT, branch) if each.run]
    found = await metrics_of(session, runs)
    values = [each for run_id in runs for each in found.get(run_id, []) if each.name == name]
    return draw(name, measured_words(values[0]) if values else "no value", _BLUE if values else _GREY)


async def badge(site: Site, request: Request) -> Response:
    """Where there is nothing to see for who asks, a grey one, the same for hidden and for missing."""
    owner, name = request.path_params["owner"], request.path_params["repo"]
    branch, metric = request.query_params.get("branch", ""), request.query_params.get("metric", "")
    try:
        user = await site.reader(request)
        async with site.context.database.read() as session:
            repo = await get_readable(session, user, owner, name)
            branch = branch or repo.default_branch
            body = await (_metric(session, repo, branch, metric) if metric else _state(session, repo, branch))
    except (NotFound, SignInNeeded):
        return _picture(draw("hermes", "not found", _GREY), {"Cache-Control": "no-store"}, 404)
    tag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    who = "public" if repo.public else "private"
    headers = {"ETag": tag, "Cache-Control": f"{who}, max-age={_MAX_AGE_S}", "Vary": "Authorization, Cookie"}
    if repo.public:  # a README of another site may show it
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return _picture("", headers, 304) if is_known(request, tag) else _picture(body, headers, 200)


def _picture(body: str, headers: dict[str, str], status: int) -> Response:
    headers = {"Content-Security-Policy": "default-src 'none'; sandbox"} | headers
    return Response(body, status, headers, "image/svg+xml")


def routes(site: Site) -> list[Route]:
    """Who may see a repo."""
    return [Route("/{owner}/{repo}/badge.svg", partial(badge, site))]
