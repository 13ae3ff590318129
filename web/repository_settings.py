"""`/{owner}/{repo}/settings`: who may do what there, what is protected. For its owner and admins only."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.audit import write_down
from hermes.branches import list_branches, set_default_branch
from hermes.errors import NotFound, UserError
from hermes.journal import log
from hermes.names import check_name
from hermes.repos import (
    ROLES,
    get_readable,
    list_collaborators,
    may_manage,
    remove_collaborator,
    set_collaborator,
)
from hermes.secret_store import Keeping, list_secrets, remove_secret
from hermes.tables import Repo, User
from hermes.threads import in_thread
from hermes.tokens import (
    DEPLOY_SCOPES,
    list_deploy_tokens,
    make_token,
    revoke_deploy_token,
)
from hermes.upstreams import upstream_of
from hermes.visibility import what_shows
from web.addresses import addresses
from web.forms import LIVES, Outcome, done, read_form, wish
from web.lookup import Place
from web.secrets import replaced, set_typed, shown
from web.site import Site, number
from web.visitor import actor


@dataclass(frozen=True)
class Asked:
    """Who asks for what: a user who may change these settings."""

    user: User
    place: Place
    typed: Mapping[str, str]

    @property
    def repo(self) -> Repo:
        """Whose settings they are."""
        return self.place.repo

    @property
    def words(self) -> str:
        """What is asked for, in the words of the form."""
        return " ".join(f"{name}={value}" for name, value in sorted(shown(self.typed).items()))


#: What the audit log calls each form.
_ACTS = {
    "visibility": "repo settings",
    "protect": "repo settings",
    "default-branch": "repo settings",
    "set-collaborator": "collaborator",
    "remove-collaborator": "collaborator",
    "make-token": "token made",
    "revoke-token": "token revoked",
    "set-secret": "secret set",
    "remove-secret": "secret removed",
}
Act = Callable[[Asked], Awaitable[str]]


class RepositorySettings:
    """The page and its forms: each has a button `do` that says what it changes."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.database = site.context.database
        self._acts: dict[str, tuple[str, Act]] = {  # by `do`: the part of the page, and what is done
            "visibility": ("visibility", self._set_visibility),
            "protect": ("protection", self._protect),
            "default-branch": ("default-branch", self._set_default_branch),
            "set-collaborator": ("collaborators", self._set_collaborator),
            "remove-collaborator": ("collaborators", self._remove_collaborator),
            "make-token": ("tokens", self._make_token),
            "revoke-token": ("tokens", self._revoke_token),
            "set-secret": ("secrets", self._set_secret),
            "remove-secret": ("secrets", self._remove_secret),
        }

    async def show(self, request: Request) -> Response:
        """The page."""
        return await self._page(request, await self._asked(request), done(request))

    async def change(self, request: Request) -> Response:
        """One of its forms. What is wrong with it is said where it stands."""
        asked = await self._asked(request)
        do = asked.typed.get("do", "")
        part, act = self._acts.get(do, ("", None))
        if act is None:
            raise UserError("this form is not known here", "open the settings anew and try again")
        try:
            secret = await act(asked)
        except UserError as error:
            return await self._page(request, asked, Outcome(part, error, shown(asked.typed)))
        log.info("settings changed", repo=asked.repo.id, by=asked.user.name, do=do)
        async with self.database.write() as session:
            write_down(session, actor(request, asked.user), _ACTS[do], asked.place.name, asked.words)
        if secret:
            return await self._page(request, asked, Outcome(part, secret=secret))
        return RedirectResponse(f"/{asked.place.name}/settings?done={part}", 303)

    async def _asked(self, request: Request) -> Asked:
        """Raises NotFound, for hidden and missing repositories alike."""
        user = await self.site.user(request)
        owner, name = request.path_params["owner"], request.path_params["repo"]
        async with self.database.read() as session:
            repo = await get_readable(session, user, owner, name)
        if not may_manage(user, repo):
            raise NotFound("there is no such page for you", f"ask {owner} to change what is to be changed")
        return Asked(user, Place(repo, owner), await read_form(request) if request.method == "POST" else {})

    async def _page(self, request: Request, asked: Asked, outcome: Outcome) -> Response:
        repo = asked.repo
        async with self.database.read() as session:
            collaborators = await list_collaborators(session, repo)
            tokens = await list_deploy_tokens(session, repo)
            secrets = await list_secrets(session, Keeping(asked.user, repo))
            shows = await what_shows(session, repo.id)
            upstream = await upstream_of(session, repo.id)
        values = {
            "place": asked.place,
            "repo": repo,
            "branches": await in_thread(list_branches, self.site.context.paths.repo(repo.id)),
            "collaborators": collaborators,
            "tokens": tokens,
            "secrets": secrets,
            "replaced": replaced(request, secrets),
            "shows": shows,
            "upstream": upstream,
            "roles": ROLES,
            "scopes": DEPLOY_SCOPES,
            "lives": LIVES,
            "address": addresses(self.site.context.settings, None, asked.place.name).http,
            "for_strangers": self.site.context.settings.anonymous == "read",
            "outcome": outcome,
        }
        return self.site.look.page(request, "repository_settings.html", values, outcome.status)

    async def _set_visibility(self, asked: Asked) -> str:
        public = asked.typed.get("visibility") == "public"
        if public and "confirmed" not in asked.typed:
            raise UserError(
                "nothing was changed: say that all of this may be seen", "tick the box above the button"
            )
        async with self.database.write() as session:
            (await session.get_one(Repo, asked.repo.id)).public = public
        return ""

    async def _protect(self, asked: Asked) -> str:
        async with self.database.write() as session:
            (await session.get_one(Repo, asked.repo.id)).protected = "protected" in asked.typed
        return ""

    async def _set_default_branch(self, asked: Asked) -> str:
        context = self.site.context
        await set_default_branch(self.database, context.paths, asked.repo, asked.typed.get("branch", ""))
        return ""

    async def _set_collaborator(self, asked: Asked) -> str:
        name = check_name(asked.typed.get("user", "").strip(), "user")
        async with self.database.write() as session:
            try:
                await set_collaborator(session, asked.repo, name, asked.typed.get("role", ""))
            except NotFound as error:
                raise NotFound(str(error), "accounts are made by an operator of this server") from None
        return ""

    async def _remove_collaborator(self, asked: Asked) -> str:
        name = check_name(asked.typed.get("user", ""), "user")
        async with self.database.write() as session:
            await remove_collaborator(session, asked.repo, name)
        return ""

    async def _make_token(self, asked: Asked) -> str:
        async with self.database.write() as session:
            return await make_token(session, asked.user, wish(asked.typed, "read"), asked.repo)

    async def _revoke_token(self, asked: Asked) -> str:
        async with self.database.write() as session:
            await revoke_deploy_token(session, asked.repo, number(asked.typed, "token"))
        return ""

    async def _set_secret(self, asked: Asked) -> str:
        await set_typed(self.site, Keeping(asked.user, asked.repo), asked.typed)
        return ""

    async def _remove_secret(self, asked: Asked) -> str:
        async with self.database.write() as session:
            await remove_secret(session, Keeping(asked.user, asked.repo), asked.typed.get("name", ""))
        return ""


def routes(site: Site) -> list[Route]:
    """Before the pages below `/{owner}/{repo}/…` that take what is left."""
    settings = RepositorySettings(site)
    address = "/{owner}/{repo}/settings"
    return [
        Route(address, settings.show, methods=["GET"]),
        Route(address, settings.change, methods=["POST"]),
    ]
