"""`/api/v1/functions…`: what can be invoked, by name and version, and its end."""

import time
from typing import Annotated

from pydantic import Field
from sqlalchemy import ColumnElement, select, true, update

from hermes.audit import write_down
from hermes.errors import NotFound, Refused
from hermes.functions import LATEST, FunctionName, builds_named, find_repo_of, parse_function
from hermes.repos import may_manage, visible_to, writable
from hermes.tables import Build, Repo, User
from web.catalog import (
    Function,
    LastRun,
    Page,
    Version,
    is_there,
    list_functions,
    list_versions,
)
from web.endpoint import PREFIX, Asked, Endpoint, Name
from web.function_answers import (
    DeletedAnswer,
    FunctionAnswer,
    FunctionPage,
    FunctionVersions,
    GpuWantAnswer,
    LastRunAnswer,
    VersionOfFunction,
)
from web.newest import NO_BOUND
from web.reading import Query
from web.site import Site

VersionName = Annotated[
    str, Field(pattern=r"^[a-z0-9_][a-z0-9_.-]{0,99}(:\d+\.\d+\.\d+)?$", description="`pi`, `pi:1.0.0`")
]


class VersionsQuery(Query):
    """A page of them."""

    limit: Annotated[int, Field(ge=1, le=100, description="how many")] = 30
    before: Annotated[int, Field(ge=1, le=NO_BOUND, description="only older ones than this build")] = NO_BOUND


class FunctionsQuery(VersionsQuery):
    """Whose, and called what."""

    owner: Annotated[str, Field(max_length=64, description="of this user only")] = ""
    q: Annotated[str, Field(max_length=200, description="a part of `owner/name`")] = ""


def wanted(query: FunctionsQuery) -> ColumnElement[bool]:
    """A condition on User (the owner) and Build."""
    found: ColumnElement[bool] = true()
    if query.owner:
        found &= User.name == query.owner
    if query.q:
        found &= (User.name + "/" + Build.name).contains(query.q.lower(), autoescape=True)
    return found


class FunctionsApi:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self.database = site.context.database
        self.base = site.context.settings.public_url

    async def list_functions(self, asked: Asked, query: FunctionsQuery) -> FunctionPage:
        """Functions that you may see, the newest first."""
        page = Page(query.limit + 1, query.before)
        async with self.database.read() as session:
            found = await list_functions(session, asked.user, visible_to(asked.user), wanted(query), page)
        shown, address = found[: query.limit], f"{self.base}{PREFIX}/functions"
        more = len(found) > query.limit
        following = query.following(address, before=shown[-1].newest.build_id) if more else None
        return FunctionPage(functions=[self._function(each) for each in shown], next=following)

    async def get_function(
        self, asked: Asked, owner: Name, function: VersionName, query: VersionsQuery
    ) -> FunctionVersions:
        """The versions of a function, the newest first, also those that are being built or could not be."""
        asked_for = parse_function(f"{owner}/{function}")
        async with self.database.read() as session:
            repo = await find_repo_of(session, asked.user, asked_for)
            found = await list_versions(
                session, repo, _which(repo, asked_for), Page(query.limit + 1, query.before)
            )
            if not found and query.before == NO_BOUND:
                raise NotFound(f"there is no function {asked_for}", "git push makes one")
            may_invoke = repo.public or repo.id in await writable(session, asked.user, [repo])
        name = asked_for.name
        address, more = f"{self.base}{PREFIX}/functions/{owner}/{function}", len(found) > query.limit
        shown = found[: query.limit]
        return FunctionVersions(
            name=f"{owner}/{name}",
            public=repo.public,
            may_invoke=may_invoke,
            versions=[self._version(each) for each in shown],
            next=query.following(address, before=shown[-1].build_id) if more else None,
            **self._addresses(owner, name),
        )

    async def delete_function(self, asked: Asked, owner: Name, function: VersionName) -> DeletedAnswer:
        """Nobody can invoke it any more: one version, or all of them.

        For its owner and admins. Builds, runs, logs and artifacts stay; pushed again, it is there again."""
        asked_for = parse_function(f"{owner}/{function}")
        async with self.database.write() as session:
            repo = await find_repo_of(session, asked.user, asked_for)
            if not may_manage(asked.user, repo):
                raise Refused(f"you may see {owner}/{asked_for.name}, but not delete it", f"ask {owner} to")
            theirs = select(Build.id).where(Build.repo_id == repo.id, is_there(), _which(repo, asked_for))
            ids = sorted((await session.scalars(theirs)).all())
            if not ids:
                raise NotFound(
                    f"there is no function {asked_for}", f"GET {PREFIX}/functions/{owner}/{repo.name}"
                )
            await session.execute(update(Build).where(Build.id.in_(ids)).values(deleted_at=time.time()))
            write_down(session, asked.by, "function deleted", f"{owner}/{function}")
        return DeletedAnswer(name=f"{owner}/{function}", builds=ids)

    def _addresses(self, owner: str, name: str) -> dict[str, str]:
        return {
            "url": f"{self.base}/functions/{owner}/{name}",
            "invoke_url": f"{self.base}{PREFIX}/functions/{owner}/{name}/runs",
        }

    def _function(self, function: Function) -> FunctionAnswer:
        newest = function.newest
        return FunctionAnswer(
            name=function.name,
            public=newest.place.repo.public,
            may_invoke=function.may_invoke,
            versions=function.versions,
            runs=function.uses.runs,
            last_run=self._last_run(function.uses.last),
            newest=self._version(newest),
            **self._addresses(newest.place.owner, newest.name),
        )

    def _version(self, version: Version) -> VersionOfFunction:
        return VersionOfFunction(
            address=version.address,
            name=version.name,
            version=version.version,
            repo=version.place.name,
            commit=version.sha,
            build=version.build_id,
            state=version.state,
            language=version.language,
            image=version.image,
            public=version.place.repo.public,
            gpu=GpuWantAnswer(**version.gpu),
            created_at=version.created_at,
            runs=version.uses.runs,
            last_run=self._last_run(version.uses.last),
            url=f"{self.base}/builds/{version.build_id}",
        )

    def _last_run(self, run: LastRun | None) -> LastRunAnswer | None:
        return LastRunAnswer(**run._asdict(), url=f"{self.base}/runs/{run.id}") if run else None


def _which(repo: Repo, name: FunctionName) -> ColumnElement[bool]:
    """A condition on Build: those of this name, and of this version if it says one."""
    found = builds_named(repo, name.name)
    return found if name.what == LATEST else found & (Build.version == name.what)


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api, one = FunctionsApi(site), "/functions/{owner}/{function}"
    return [
        Endpoint("GET", "/functions", api.list_functions),
        Endpoint("GET", one, api.get_function),
        Endpoint("DELETE", one, api.delete_function, errors=(403,)),
    ]
