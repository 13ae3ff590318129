"""`/functions` and `/functions/{owner}/{function}`: what can be invoked, and a form that does."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import or_, select
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from hermes.again import Wrong
from hermes.errors import Refused, UserError
from hermes.functions import LATEST, FunctionName, builds_named, find_function, find_repo_of, parse_function
from hermes.plan import Plan
from hermes.repos import may_manage, may_write
from hermes.tables import Build, Collaborator, Repo, User
from web.again import as_typed
from web.api_functions import FunctionsQuery, wanted
from web.catalog import Page, Version, list_functions, list_versions
from web.invoke import Invoke
from web.invoke_form import Typed
from web.newest import NO_BOUND
from web.site import Site, number

_PER_PAGE, _VERSIONS = 50, 20


@dataclass(frozen=True)
class Chosen:
    """What the form is for; without a build `trouble` says why there is none to run."""

    name: FunctionName
    repo: Repo
    build: Build | None
    versions: list[Version]
    may_invoke: bool
    trouble: UserError | None
    plan: Plan | None = None


@dataclass(frozen=True)
class Said:
    """What was typed into the form and what was wrong with it."""

    typed: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""
    status: int = 200


class Functions:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.invoke = Invoke(site)

    async def listing(self, request: Request) -> Response:
        """What its visitor may invoke, the newest first."""
        user = await self.site.user(request)
        words = request.query_params.get("q", "")[:200].replace("\0", "").strip()
        before = number(request.query_params, "before") or NO_BOUND
        mine = select(Collaborator.repo_id)
        mine = mine.where(Collaborator.user_id == user.id, Collaborator.role == "write")
        may = or_(Repo.public.is_(True), Repo.owner_id == user.id, Repo.id.in_(mine))
        if user.is_admin:
            may = Repo.id.is_not(None)
        async with self.site.context.database.read() as session:
            condition = wanted(FunctionsQuery(q=words))
            found = await list_functions(session, user, may, condition, Page(_PER_PAGE + 1, before))
        shown, more = found[:_PER_PAGE], len(found) > _PER_PAGE
        older = shown[-1].newest.build_id if more else 0
        is_first = before == NO_BOUND
        values = {"functions": shown, "older": older, "q": words, "is_first": is_first}
        return self.site.page(request, "functions.html", **values)

    async def show(self, request: Request) -> Response:
        """The page of one."""
        user = await self.site.reader(request)
        return await self._page(request, user, _name(request), Said())

    async def run(self, request: Request) -> Response:
        """The form was sent: a run, or the form again with what is wrong where it stands."""
        user, name = await self.site.user(request), _name(request)
        typed = Typed(request)
        is_script = "application/json" in request.headers.get("accept", "")
        try:
            run_id = (await self.invoke.start_as(user, name, typed.read)).queued.run_id
        except UserError as error:
            problems = error.problems if isinstance(error, Wrong) else {"": str(error)}
            if is_script:
                words = {"error": {"code": error.code, "message": str(error), "hint": error.hint}}
                return JSONResponse(words | {"problems": dict(problems)}, error.status)
            if not typed.values:  # nothing was read yet
                raise
            return await self._page(
                request, user, name, Said(typed.values, problems, error.hint, error.status)
            )
        address = f"/runs/{run_id}"
        if is_script:
            return JSONResponse({"run": run_id, "url": address}, 202)
        return RedirectResponse(address, 303)

    async def _page(self, request: Request, user: User | None, name: FunctionName, said: Said) -> Response:
        chosen = await self._chosen(user, name)
        typed = dict(said.typed)
        if not typed and chosen.plan:
            typed = as_typed(chosen.plan, "") | {"text": "", "kind": "text"}
        values = {
            "chosen": chosen,
            "owner": name.owner,
            "typed": typed,
            "problems": said.problems,
            "hint": said.hint,
            "manages": user is not None and may_manage(user, chosen.repo),
        }
        return self.site.look.page(request, "function.html", values, said.status)

    async def _chosen(self, user: User | None, name: FunctionName) -> Chosen:
        async with self.site.context.database.read() as session:
            repo = await find_repo_of(session, user, name)
            which = builds_named(repo, name.name)
            versions = await list_versions(session, repo, which, Page(_VERSIONS, NO_BOUND))
            may = user is not None and (repo.public or await may_write(session, user, repo))
            try:
                function = await find_function(session, user, name, self.site.context.paths)
            except Refused as error:  # nothing that could run
                return Chosen(name, repo, None, versions, may, error)
        plan = Plan.model_validate(function.build.plan)
        return Chosen(name, repo, function.build, versions, may, None, plan)


def _name(request: Request) -> FunctionName:
    """Of the address, and `?version=` a version, branch, tag or commit."""
    owner, function = request.path_params["owner"], request.path_params["function"]
    what = request.query_params.get("version", "").strip()
    return parse_function(f"{owner}/{function}")._replace(what=what or LATEST)


def routes(site: Site) -> list[Route]:
    """Who has an account sees the list; who sees a repo, its functions; who may push there, or where it is
    public everybody with an account, invokes."""
    pages = Functions(site)
    one = "/functions/{owner}/{function}"
    return [
        Route("/functions", pages.listing),
        Route(one, pages.show, methods=["GET"]),
        Route(one, pages.run, methods=["POST"]),
    ]
