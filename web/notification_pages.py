"""`/settings/notifications`, and the same of a repository: who is told, whether it arrives, and its end."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.branch_patterns import split_branches
from hermes.errors import UserError
from hermes.journal import log
from hermes.notifications import KINDS, MAIL, POLICIES, Wish
from hermes.repos import may_manage
from web.forms import Outcome, done, read_form
from web.notification_acts import Asker, Change, NotificationActs
from web.site import Site, number
from web.visitor import actor, address

PART, _ROW = "notifications", "row"
_SECRETS = ("target", "secret")  # not put back into a form where they were wrong
_LOG_SHOWN = 20


@dataclass(frozen=True)
class _Asked:
    """Who asks for what, at which page; `place` is a repository's name, "" of users."""

    asker: Asker
    here: str
    place: str


Find = Callable[[Request], Awaitable[_Asked]]


class NotificationPages:
    """The pages and their forms: each has a button `do`."""

    def __init__(self, site: Site) -> None:
        self._site, self._acts = site, NotificationActs(site)

    async def of_user(self, request: Request) -> _Asked:
        """Raises SignInNeeded."""
        user = await self._site.user(request)
        return _Asked(self._acts.of_user(user, actor(request, user)), "/settings/notifications", "")

    async def of_repo(self, request: Request) -> _Asked:
        """Raises SignInNeeded, NotFound, Refused."""
        user = await self._site.user(request)
        owner, name = request.path_params["owner"], request.path_params["repo"]
        asker = await self._acts.of_repo(user, actor(request, user), owner, name)
        return _Asked(asker, f"/{owner}/{name}/settings/notifications", f"{owner}/{name}")

    async def show(self, find: Find, request: Request) -> Response:
        """The page."""
        return await self._page(request, await find(request), done(request))

    async def change(self, find: Find, request: Request) -> Response:
        """One of its forms."""
        asked, typed = await find(request), await read_form(request)
        try:
            outcome = await self._act(asked.asker, typed)
        except UserError as error:
            is_new = typed.get("do") == "add"
            kept = {name: value for name, value in typed.items() if is_new and name not in _SECRETS}
            return await self._page(request, asked, Outcome(PART if is_new else _ROW, error, kept))
        log.info("settings changed", by=asked.asker.whose.user.name, do=typed.get("do"))
        if isinstance(outcome, Outcome):
            return await self._page(request, asked, outcome)
        return RedirectResponse(f"{asked.here}?{outcome}", 303)

    async def _act(self, asker: Asker, typed: Mapping[str, str]) -> Outcome | str:
        """What is shown, or the query of the page that shows it. Raises UserError."""
        do, notification = typed.get("do", ""), number(typed, "notification")
        branches = split_branches(typed.get("branches", ""))
        if do == "add":
            target = typed.get("target", "").strip()
            wish = Wish(typed.get("kind", ""), target, typed.get("events", "changes"), branches)
            _, secret = await self._acts.add(asker, wish)
            return Outcome(PART, secret=secret) if secret else f"done={PART}"
        if do == "test":
            return f"tested={(await self._acts.test(asker, notification)).id}"
        if do == "again":
            await self._acts.again(asker, notification, number(typed, "attempt"))
            return f"done=again&log={notification}"
        if do == "remove":
            await self._acts.remove(asker, notification)
            return f"done={PART}"
        await self._acts.change(asker, notification, self._changes(do, typed.get("events"), branches))
        return f"done={PART}"

    def _changes(self, do: str, events: str | None, branches: tuple[str, ...]) -> Change:
        if do in ("pause", "resume"):
            return Change(paused=do == "pause")
        if do == "change":
            return Change(events, branches)
        raise UserError("this form is not known here", "open the settings anew and try again")

    async def _page(self, request: Request, asked: _Asked, outcome: Outcome) -> Response:
        rows = await self._acts.all(asked.asker)
        attempts = await self._acts.log_of([row for row, _ in rows])
        tested = number(request.query_params, "tested")
        of_all = [each for several in attempts.values() for each in several]
        kinds = {
            kind: name for kind, name in KINDS.items() if kind != MAIL or self._site.context.settings.smtp_url
        }
        values = {
            "here": asked.here,
            "place": asked.place,
            "manages": (repo := asked.asker.whose.repo) is not None
            and may_manage(asked.asker.whose.user, repo),
            "rows": rows,
            "attempts": {row_id: several[:_LOG_SHOWN] for row_id, several in attempts.items()},
            "tested": next((each for each in of_all if each.id == tested), None),
            "opened": number(request.query_params, "log"),
            "kinds": kinds,
            "policies": POLICIES,
            "outcome": outcome,
        }
        return self._site.look.page(request, "notifications.html", values, outcome.status)

    async def stop(self, request: Request) -> Response:
        """A page for who gets mail and wants no more; its button, and mail programs, send a POST."""
        row_id, key = number(request.path_params, "notification"), request.query_params.get("key", "")
        shown = ""
        if request.method == "POST":
            shown = await self._acts.stop(row_id, key, address(request))
        values = {"shown": shown, "address": f"{request.url.path}?key={key}" if key.isalnum() else ""}
        return self._site.look.page(request, "notification_stop.html", values)


def routes(site: Site) -> list[Route]:
    """Before the pages below `/{owner}/{repo}/…` that take what is left."""
    pages = NotificationPages(site)
    of_user, of_repo = "/settings/notifications", "/{owner}/{repo}/settings/notifications"
    stop = "/settings/notifications/{notification}/stop"
    return [
        Route(of_user, partial(pages.show, pages.of_user), methods=["GET"]),
        Route(of_user, partial(pages.change, pages.of_user), methods=["POST"]),
        Route(stop, pages.stop, methods=["GET", "POST"]),
        Route(of_repo, partial(pages.show, pages.of_repo), methods=["GET"]),
        Route(of_repo, partial(pages.change, pages.of_repo), methods=["POST"]),
    ]
