"""`/{owner}/{repo}/settings/upstream`: which repository elsewhere this one follows. For who may write."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.arrivals import STATES
from hermes.errors import NotFound, UserError
from hermes.forges.open import NAMES
from hermes.repos import get_readable, may_manage, may_write
from hermes.tables import User
from hermes.upstreams import place_of
from web.api_connect import checked_token
from web.connected import Connected, Ours, Wish
from web.connecting import Connecting
from web.following import Asking, followed
from web.forms import Outcome, done, read_form
from web.lookup import Place
from web.site import Site, number
from web.visitor import actor


@dataclass(frozen=True)
class _Asked:
    """Who asks for what: a user who may write there."""

    user: User
    place: Place
    typed: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def ours(self) -> Ours:
        return Ours(self.place.owner, self.place.repo.name)


class UpstreamPage:
    """The page and its forms."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._connecting, self._asking = Connecting(site), Asking(site.context)

    async def show(self, request: Request) -> Response:
        """How it stands."""
        return await self._page(request, await self._asked(request), done(request))

    async def change(self, request: Request) -> Response:
        """What is wrong is said where it stands; the token is never shown again."""
        asked = await self._asked(request)
        if asked.typed.get("do") in ("fetch", "let-run"):
            return await self._ask(request, asked)
        do, by = asked.typed.get("do", ""), actor(request, asked.user)
        try:
            if do == "connect":
                made = await self._connecting.connect(asked.user, by, asked.ours, _wish(asked.typed))
                return await self._page(request, asked, Outcome("upstream"), made)
            if do == "disconnect":
                left = await self._connecting.disconnect(asked.user, by, asked.ours)
                return await self._page(request, asked, Outcome("gone", secret=left.words))
        except UserError as error:
            typed = {name: value for name, value in asked.typed.items() if name != "token"}
            return await self._page(request, asked, Outcome("upstream", error, typed))
        raise UserError("this form is not known here", "open the settings anew and try again")

    async def _ask(self, request: Request, asked: _Asked) -> Response:
        """Look there now, or let a stranger's commit run."""
        do, by = asked.typed["do"], actor(request, asked.user)
        try:
            if do == "fetch":
                await self._asking.fetch(asked.place, by, asked.typed.get("branch", "").strip())
            else:
                await self._asking.let_run(asked.place, by, number(asked.typed, "arrival"))
        except UserError as error:
            return await self._page(request, asked, Outcome(do, error, asked.typed))
        return RedirectResponse(f"{request.url.path}#came", 303)

    async def _asked(self, request: Request) -> _Asked:
        """Raises NotFound, for hidden and missing repositories alike."""
        user = await self._site.user(request)
        owner, name = request.path_params["owner"], request.path_params["repo"]
        async with self._site.context.database.read() as session:
            repo = await get_readable(session, user, owner, name)
            if not await may_write(session, user, repo):
                raise NotFound(
                    "there is no such page for you", f"ask {owner} to change what is to be changed"
                )
        typed = await read_form(request) if request.method == "POST" else {}
        return _Asked(user, Place(repo, owner), typed)

    async def _page(
        self, request: Request, asked: _Asked, outcome: Outcome, made: Connected | None = None
    ) -> Response:
        place = asked.place
        found = await self._connecting.find_for(asked.user, place.repo, place.owner)
        async with self._site.context.database.read() as session:
            came = await followed(session, place.repo)
        values: dict[str, Any] = {
            "arrivals": came.arrivals if came else [],
            "states": STATES,
            "place": place,
            "found": found,
            "made": made,
            "forges": NAMES,
            "manages": may_manage(asked.user, place.repo),
            "outcome": outcome,
        }
        status = 200 if outcome.wrong is None else outcome.status
        return self._site.look.page(request, "upstream.html", values, status)


def _wish(typed: Mapping[str, str]) -> Wish:
    """Raises UserError."""
    kind, url = typed.get("kind", "github"), typed.get("url", "").strip()
    place = place_of(kind, typed.get("name", "").strip(), url)
    token = checked_token(typed.get("token", "").strip() or None)
    ssh, host_key = (typed.get(name, "").strip() for name in ("ssh", "host_key"))
    return Wish(place, token, "by_hand" in typed, "deploy_key" in typed, ssh, host_key)


def routes(site: Site) -> list[Route]:
    """Beside the settings of the repository."""
    page = UpstreamPage(site)
    address = "/{owner}/{repo}/settings/upstream"
    return [Route(address, page.show, methods=["GET"]), Route(address, page.change, methods=["POST"])]
