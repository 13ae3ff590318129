"""`/api/v1/…`: JSON for programs, with a bearer token and never with a cookie."""

from pydantic import BaseModel
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hermes.errors import NotFound
from hermes.machine_answers import gpus_answer
from hermes.machines import machines, queue
from hermes.manifest import json_schema
from hermes.repos import get_readable, visible_to
from hermes.tables import Build, Run, User
from hermes.threads import in_thread
from web import visibility
from web.actions import actions_of
from web.answers import CommitAnswer, RunAnswer, RunPage
from web.commit import full_sha
from web.details import build_details, pushes_of
from web.lookup import Place, find_build, find_run, places
from web.message import read_message
from web.newest import NO_BOUND, newest_in, newest_of_builds
from web.runs import WHOLE, run_details, runs_details
from web.shapes import build_answer, push_answer, run_answer
from web.site import Site, number
from web.visitor import address, program
from web.wishes import other_values

_PER_PAGE, _MOST_PER_PAGE, _RUNS_OF_COMMIT = 30, 100, 50


def _json(answer: BaseModel, status: int = 200) -> Response:
    return Response(answer.model_dump_json(), status, media_type="application/json")


class Api:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.database = site.context.database
        self.base = site.context.settings.public_url
        self.actions = actions_of(site)

    def routes(self) -> list[Route]:
        """All below one version."""
        v1 = "/api/v1"
        return [
            Route(f"{v1}/runs", self.runs),
            Route(f"{v1}/runs/{{run}}", self.run),
            Route(f"{v1}/runs/{{run}}/cancel", self.cancel_run, methods=["POST"]),
            Route(f"{v1}/runs/{{run}}/again", self.run_again, methods=["POST"]),
            Route(f"{v1}/builds/{{build}}", self.build),
            Route(f"{v1}/builds/{{build}}/cancel", self.cancel_build, methods=["POST"]),
            Route(f"{v1}/repos/{{owner}}/{{repo}}/commits/{{sha}}", self.commit),
            *visibility.routes(self.site, f"{v1}/repos/{{owner}}/{{repo}}/visibility"),
            Route(f"{v1}/gpus", self.gpus),
            Route(f"{v1}/manifest.schema.json", self.manifest_schema),
        ]

    async def manifest_schema(self, _request: Request) -> Response:
        """For editors, which have no token."""
        return JSONResponse(json_schema(), media_type="application/schema+json")

    async def _user(self, request: Request) -> User:
        return (await program(request, self.site.context)).user

    async def _run(self, user: User, run_id: int) -> RunAnswer:
        async with self.database.read() as session:
            run, place = await find_run(session, user, run_id)
            return run_answer(await run_details(session, user, run, place, WHOLE), self.base)

    async def run(self, request: Request) -> Response:
        """One run."""
        return _json(await self._run(await self._user(request), number(request.path_params, "run")))

    async def cancel_run(self, request: Request) -> Response:
        """Ask for its end; what is over stays as it is."""
        user = await self._user(request)
        run = await self.actions.cancel_run(user, number(request.path_params, "run"), address(request))
        return _json(await self._run(user, run.id), 202)

    async def run_again(self, request: Request) -> Response:
        """A new run of the same image, with other values if the body names some."""
        user, run_id = await self._user(request), number(request.path_params, "run")
        run = await self.actions.run_again(user, run_id, await other_values(request))
        return _json(await self._run(user, run.id), 201)

    async def runs(self, request: Request) -> Response:
        """What you may see, newest first, a page at a time."""
        user = await self._user(request)
        limit = min(number(request.query_params, "limit") or _PER_PAGE, _MOST_PER_PAGE)
        before = number(request.query_params, "before") or NO_BOUND
        async with self.database.read() as session:
            ids = await newest_in(session, Run, visible_to(user), limit + 1, before)
            rows = await session.scalars(select(Run).where(Run.id.in_(ids[:limit])).order_by(Run.id.desc()))
            found = rows.all()
            where = await places(session, {run.repo_id for run in found})
            details = await runs_details(session, user, found, where)
        more = len(ids) > limit
        following = f"{self.base}/api/v1/runs?limit={limit}&before={found[-1].id}" if more else None
        return _json(RunPage(runs=[run_answer(each, self.base) for each in details], next=following))

    async def build(self, request: Request) -> Response:
        """One build."""
        return await self._build(await self._user(request), number(request.path_params, "build"), 200)

    async def cancel_build(self, request: Request) -> Response:
        """Ask for its end; what is over stays as it is."""
        user, build_id = await self._user(request), number(request.path_params, "build")
        await self.actions.cancel_build(user, build_id, address(request))
        return await self._build(user, build_id, 202)

    async def _build(self, user: User, build_id: int, status: int) -> Response:
        async with self.database.read() as session:
            build, place = await find_build(session, user, build_id)
            return _json(build_answer(await build_details(session, user, build, place), self.base), status)

    async def commit(self, request: Request) -> Response:
        """A commit with its pushes, builds and runs."""
        owner, name, asked = (request.path_params[key] for key in ("owner", "repo", "sha"))
        user = await self._user(request)
        async with self.database.read() as session:
            repo = await get_readable(session, user, owner, name)
            place, sha = Place(repo, owner), await full_sha(session, repo, asked.lower())
            pushes = await pushes_of(session, repo.id, sha)
            of_commit = select(Build).where(Build.repo_id == repo.id, Build.commit_sha == sha)
            built = sorted((await session.scalars(of_commit)).all(), key=lambda build: -build.id)
            builds = [await build_details(session, user, build, place) for build in built]
            ids = await newest_of_builds(session, [build.id for build in built], _RUNS_OF_COMMIT)
            newest = (await session.scalars(select(Run).where(Run.id.in_(ids)).order_by(Run.id.desc()))).all()
            runs = await runs_details(session, user, newest, {repo.id: place})
        message = await in_thread(read_message, self.site.context.paths.repo(repo.id), sha)
        if message is None and not pushes and not builds:
            raise NotFound(f"there is no commit {sha[:12]} in {owner}/{name}")
        states = [each.run.state for each in runs] + [each.build.state for each in builds]
        answer = CommitAnswer(
            sha=sha,
            repo=place.name,
            subject=pushes[0][0].subject if pushes else message.subject if message else "",
            state=states[0] if states else None,
            pushes=[push_answer(push, who) for push, who in pushes],
            builds=[build_answer(each, self.base) for each in builds],
            runs=[run_answer(each, self.base) for each in runs],
            url=f"{self.base}/{place.name}/commit/{sha}",
        )
        return _json(answer)

    async def gpus(self, request: Request) -> Response:
        """The machines, who holds them, who waits."""
        user = await self._user(request)
        async with self.database.read() as session:
            found = await machines(session, user)
            waiting, total = await queue(session, user)
        return _json(gpus_answer(found, waiting, total))
