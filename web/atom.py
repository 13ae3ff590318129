"""`/{owner}/{repo}/atom.xml`: the runs that ended last, for feed readers (RFC 4287).

They can sign in by HTTP Basic, or by a token of the scope `read` in the address, which is good for no more
than reading if the address is told on."""

import base64
import binascii
import hashlib
import re
import uuid
from collections.abc import Sequence
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape, quoteattr

from sqlalchemy import and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hermes.accounts import Identity
from hermes.errors import NotFound
from hermes.login import count_failure, sign_in
from hermes.pushes import BRANCHES
from hermes.repos import get_readable
from hermes.states import TERMINAL
from hermes.tables import Build, Push, Repo, Run, User
from web.details import RunDetails
from web.files import is_known
from web.look import iso, state_words
from web.lookup import Place, subjects
from web.runs import PAGE, runs_details
from web.site import Site
from web.visitor import SignInNeeded, address

_MOST, _MAX_AGE_S = 30, 60
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _identity_scopes(request: Request) -> tuple[str, str, tuple[str, ...]] | None:
    """The name, the secret and what it has to be good for, as somebody sends them."""
    if secret := request.query_params.get("token", ""):
        return "", secret, ("read",)
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(value[:2000], validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        name, secret = "", ""
    return name[:80], secret, ("all", "push", "read")


async def _who(site: Site, request: Request) -> tuple[User | None, int | None]:
    """Who reads, and the only repository that their token is for. Raises SignInNeeded, TooMany."""
    sent = _identity_scopes(request)
    if sent is None:
        return await site.reader(request), None
    name, secret, scopes = sent
    found: Identity | None = await sign_in(site.context, secret, address(request), name, scopes)
    if found is not None and name and found.token.repo_id is None and name != found.user.name:
        count_failure(site.context, address(request), name)
        found = None
    if found is None:
        raise SignInNeeded("this token is not valid (any more), or good for more than a feed may have")
    return found.user, found.token.repo_id


async def atom(site: Site, request: Request) -> Response:
    """The feed. Who is nobody is asked to sign in where there is nothing to see for them."""
    owner, name = request.path_params["owner"], request.path_params["repo"]
    branch = request.query_params.get("branch", "")
    user: User | None = None
    try:
        user, only = await _who(site, request)
        async with site.context.database.read() as session:
            repo = await get_readable(session, user, owner, name)
            if only not in (None, repo.id):
                raise NotFound(f"there is no repository {owner[:80]}/{name[:80]} that this token is for")
            runs = await _ended(session, repo, branch)
            details = await runs_details(session, user, runs, {repo.id: Place(repo, owner)}, PAGE)
            shas = {each.build.commit_sha for each in details}
            named = {sha: words for (_, sha), words in (await subjects(session, {repo.id}, shas)).items()}
    except (SignInNeeded, NotFound) as error:
        if isinstance(error, NotFound) and user is not None:
            raise
        return _sign_in()
    body = _feed(site.context.settings.public_url, Place(repo, owner), branch, details, named)
    return _answer(request, repo, body, _updated(repo, details))


def _sign_in() -> Response:
    words = "sign in: your user name, and a token as password; or ?token= with one of the scope read\n"
    headers = {"WWW-Authenticate": 'Basic realm="hermes", charset="UTF-8"'}
    return PlainTextResponse(words, 401, headers)


def _answer(request: Request, repo: Repo, body: str, updated: float) -> Response:
    tag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    headers = {
        "ETag": tag,
        "Last-Modified": formatdate(updated, usegmt=True),
        "Cache-Control": f"{'public' if repo.public else 'private'}, max-age={_MAX_AGE_S}",
        "Vary": "Authorization, Cookie",
    }
    kind = "application/atom+xml; charset=utf-8"
    if is_known(request, tag) or _is_fresh(request, updated):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=kind)


def _is_fresh(request: Request, updated: float) -> bool:
    """By its time, if no tag is asked about (RFC 9110, 13.1.3)."""
    if "if-none-match" in request.headers:
        return False
    try:
        since = parsedate_to_datetime(request.headers.get("if-modified-since", "")).timestamp()
    except ValueError:
        return False
    return int(updated) <= since


async def _ended(session: AsyncSession, repo: Repo, branch: str) -> Sequence[Run]:
    """The newest first."""
    query = select(Run).where(Run.repo_id == repo.id, Run.state.in_(TERMINAL), Run.ended_at.is_not(None))
    if branch:
        ref = f"{BRANCHES}{branch}"
        pushed = exists().where(Push.id == Run.push_id, Push.ref == ref)
        brought = exists().where(
            Push.repo_id == repo.id,
            Push.ref == ref,
            Push.state == "applied",
            Push.new_sha == Build.commit_sha,
        )
        query = query.join(Build, Build.id == Run.build_id)
        query = query.where(or_(pushed, and_(Run.push_id.is_(None), brought)))
    found = (await session.scalars(query.order_by(Run.id.desc()).limit(_MOST))).all()
    return sorted(found, key=lambda run: run.ended_at or 0.0, reverse=True)


def _updated(repo: Repo, details: Sequence[RunDetails]) -> float:
    return max((each.run.ended_at or 0.0 for each in details), default=repo.created_at)


def _id(kind: str, number: int, created_at: float) -> str:
    """The same for ever, wherever the service moves to."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"hermes {kind} {number} {created_at!r}").urn


def _text(name: str, words: str) -> str:
    return f"<{name}>{escape(_NOT_XML.sub(chr(0xFFFD), words))}</{name}>"


def _link(rel: str, kind: str, href: str) -> str:
    return f'<link rel="{rel}" type="{kind}" href={quoteattr(href)}/>'


def _feed(base: str, place: Place, branch: str, details: Sequence[RunDetails], named: dict[str, str]) -> str:
    home = f"{base}/{place.name}"
    query = f"?{urlencode({'branch': branch}, quote_via=quote)}" if branch else ""
    parts = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        _text("id", _id(f"feed {branch}".strip(), place.repo.id, place.repo.created_at)),
        _text("title", f"Runs of {place.name}{f', {branch}' if branch else ''}"),
        _text("updated", iso(_updated(place.repo, details))),
        _link("self", "application/atom+xml", f"{home}/atom.xml{query}"),
        _link("alternate", "text/html", f"{home}{query}"),
        f"<author>{_text('name', place.owner)}</author>",
        "<generator>Hermes</generator>",
        *(_entry(base, each, named.get(each.build.commit_sha, "")) for each in details),
        "</feed>\n",
    ]
    return "\n".join(parts)


def _entry(base: str, details: RunDetails, subject: str) -> str:
    run, sha = details.run, details.build.commit_sha
    title = f"Run {run.id} {state_words(run.state)}: {subject or sha[:7]}"
    summary = f"{details.words}\n{sha[:12]} {subject}\n{details.trigger_words}"
    parts = [
        "<entry>",
        _text("id", _id("run", run.id, run.created_at)),
        _text("title", title),
        _text("updated", iso(run.ended_at or run.created_at)),
        _text("published", iso(run.created_at)),
        _link("alternate", "text/html", f"{base}{details.url}"),
        f"<author>{_text('name', details.user or 'nobody')}</author>",
        f'<category term="{run.state}"/>',
        _text("summary", summary),
        "</entry>",
    ]
    return "\n".join(parts)


def routes(site: Site) -> list[Route]:
    """Who may see a repository."""
    return [Route("/{owner}/{repo}/atom.xml", partial(atom, site))]
