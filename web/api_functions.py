"""`/api/v1/functions…`: what can be invoked, by name and version, and its end."""

import difflib
import time
from typing import Annotated

from pydantic import Field
from sqlalchemy import ColumnElement, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.audit import write_down
from hermes.errors import NotFound, Refused
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
    named,
    names_like,
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

FunctionName = Annotated[
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
        self, asked: Asked, owner: Name, function: FunctionName, query: VersionsQuery
    ) -> FunctionVersions:
        """The versions of a function, the newest first, also those that are being built or could not be."""
        name, _, version = function.partition(":")
        may, page = visible_to(asked.user), Page(query.limit + 1, query.before)
        async with self.database.read() as session:
            found = await list_versions(session, may, named(owner, name, version), page)
            if not found:
                raise await no_such_function(session, asked.user, f"{owner}/{function}")
            repo = found[0].place.repo
            may_invoke = repo.public or repo.id in await writable(session, asked.user, [repo])
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

    async def delete_function(self, asked: Asked, owner: Name, function: FunctionName) -> DeletedAnswer:
        """Nobody can invoke it any more: one version, or all of them.

        For its owner and admins. Builds, runs, logs and artifacts stay; pushed again, it is there again."""
        name, _, version = function.partition(":")
        theirs = (
            select(Build.id, Repo).join(Repo, Repo.id == Build.repo_id).join(User, User.id == Repo.owner_id)
        )
        async with self.database.write() as session:
            seen = theirs.where(visible_to(asked.user), named(owner, name), is_there())
            rows = (await session.execute(seen)).all()
            if any(not may_manage(asked.user, repo) for _, repo in rows):
                raise Refused(f"you may see {owner}/{name}, but not delete it", f"ask {owner} to")
            if version:
                rows = (await session.execute(seen.where(Build.version == version))).all()
            if not rows:
                raise await no_such_function(session, asked.user, f"{owner}/{function}")
            ids = sorted(row[0] for row in rows)
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


async def no_such_function(session: AsyncSession, user: User | None, asked: str) -> NotFound:
    """With the nearest names of those that this user may see."""
    plain = asked.partition(":")[0].partition("@")[0]
    near = difflib.get_close_matches(plain, await names_like(session, visible_to(user)), n=3)
    hint = f"there is {', '.join(near)}" if near else f"GET {PREFIX}/functions lists them"
    return NotFound(f"there is no function {asked[:200]} that you may see", hint)


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api, one = FunctionsApi(site), "/functions/{owner}/{function}"
    return [
        Endpoint("GET", "/functions", api.list_functions),
        Endpoint("GET", one, api.get_function),
        Endpoint("DELETE", one, api.delete_function, errors=(403,)),
    ]
