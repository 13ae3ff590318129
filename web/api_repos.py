"""`/api/v1/repos…`: repositories, their settings, and what came of their commits."""

from typing import Annotated

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.audit import write_down
from hermes.branches import set_default_branch
from hermes.errors import NotFound, Refused
from hermes.repos import get_readable, may_manage, visible_to, writable
from hermes.tables import Build, Repo, Run, User
from hermes.threads import in_thread
from web.addresses import addresses
from web.answers import CommitAnswer
from web.commit import full_sha
from web.details import build_details, pushes_of
from web.endpoint import PREFIX, Asked, Endpoint, Name, Sha
from web.lookup import Place
from web.message import read_message
from web.newest import newest_of_builds
from web.reading import Body, Query
from web.repo_answers import RepoAnswer, RepoPage
from web.runs import runs_details
from web.shapes import build_answer, push_answer, run_answer
from web.site import Site

_RUNS_OF_COMMIT = 50


class ReposQuery(Query):
    """A page of them, and whose."""

    owner: Annotated[str, Field(max_length=64, description="of this user only")] = ""
    limit: Annotated[int, Field(ge=1, le=100, description="how many")] = 30
    after: Annotated[int, Field(ge=0, le=1 << 53, description="only repositories after this one")] = 0


class RepoChange(Body):
    """What is to be different; what is left out stays."""

    default_branch: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    protected: bool | None = None


class ReposApi:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.database = site.context.database
        self.base = site.context.settings.public_url

    async def _answers(self, session: AsyncSession, user: User, found: list[Place]) -> list[RepoAnswer]:
        may = await writable(session, user, [place.repo for place in found])
        return [self._answer(user, place, place.repo.id in may) for place in found]

    def _answer(self, user: User, place: Place, may_push: bool) -> RepoAnswer:
        repo, where = place.repo, addresses(self.site.context.settings, user, place.name)
        return RepoAnswer(
            id=repo.id,
            name=place.name,
            public=repo.public,
            default_branch=repo.default_branch,
            protected=repo.protected,
            may_push=may_push,
            may_manage=may_manage(user, repo),
            created_at=repo.created_at,
            url=f"{self.base}/{place.name}",
            clone_url=where.http,
            ssh_url=where.ssh or None,
        )

    async def list_repos(self, asked: Asked, query: ReposQuery) -> RepoPage:
        """Repositories that you may see, the oldest first."""
        wanted = select(Repo, User.name).join(User, User.id == Repo.owner_id)
        wanted = wanted.where(visible_to(asked.user), Repo.id > query.after)
        if query.owner:
            wanted = wanted.where(User.name == query.owner)
        async with self.database.read() as session:
            rows = (await session.execute(wanted.order_by(Repo.id).limit(query.limit + 1))).all()
            shown = [Place(repo, owner) for repo, owner in rows[: query.limit]]
            answers = await self._answers(session, asked.user, shown)
        more, address = len(rows) > query.limit, f"{self.base}{PREFIX}/repos"
        following = query.following(address, after=shown[-1].repo.id) if more else None
        return RepoPage(repos=answers, next=following)

    async def get_repo(self, asked: Asked, owner: Name, repo: Name) -> RepoAnswer:
        """One repository."""
        async with self.database.read() as session:
            place = Place(await get_readable(session, asked.user, owner, repo), owner)
            return (await self._answers(session, asked.user, [place]))[0]

    async def change_repo(self, asked: Asked, owner: Name, repo: Name, body: RepoChange) -> RepoAnswer:
        """Change the default branch, or whether it is protected.

        For its owner and admins. Whether it is public has an address of its own, `…/visibility`."""
        async with self.database.read() as session:
            row = await get_readable(session, asked.user, owner, repo)
        if not may_manage(asked.user, row):
            raise Refused(f"you may see {owner}/{repo}, but not change its settings", f"ask {owner} to")
        if body.default_branch is not None:
            await set_default_branch(self.database, self.site.context.paths, row, body.default_branch)
        async with self.database.write() as session:
            if body.protected is not None:
                (await session.get_one(Repo, row.id)).protected = body.protected
            if changed := body.model_dump(exclude_none=True):
                words = " ".join(f"{name}={value}" for name, value in sorted(changed.items()))
                write_down(session, asked.by, "repo settings", f"{owner}/{repo}", words)
        return await self.get_repo(asked, owner, repo)

    async def get_commit(self, asked: Asked, owner: Name, repo: Name, sha: Sha) -> CommitAnswer:
        """A commit with its pushes, builds and runs.

        7 digits are enough."""
        user = asked.user
        async with self.database.read() as session:
            place = Place(await get_readable(session, user, owner, repo), owner)
            sha = await full_sha(session, place.repo, sha.lower())
            pushes = await pushes_of(session, place.repo.id, sha)
            of_commit = select(Build).where(Build.repo_id == place.repo.id, Build.commit_sha == sha)
            built = sorted((await session.scalars(of_commit)).all(), key=lambda build: -build.id)
            builds = [await build_details(session, user, build, place) for build in built]
            ids = await newest_of_builds(session, [build.id for build in built], _RUNS_OF_COMMIT)
            newest = (await session.scalars(select(Run).where(Run.id.in_(ids)).order_by(Run.id.desc()))).all()
            runs = await runs_details(session, user, newest, {place.repo.id: place})
        message = await in_thread(read_message, self.site.context.paths.repo(place.repo.id), sha)
        if message is None and not pushes and not builds:
            raise NotFound(f"there is no commit {sha[:12]} in {owner}/{repo}")
        states = [each.run.state for each in runs] + [each.build.state for each in builds]
        return CommitAnswer(
            sha=sha,
            repo=place.name,
            subject=pushes[0][0].subject if pushes else message.subject if message else "",
            state=states[0] if states else None,
            pushes=[push_answer(push, who) for push, who in pushes],
            builds=[build_answer(each, self.base) for each in builds],
            runs=[run_answer(each, self.base) for each in runs],
            url=f"{self.base}/{place.name}/commit/{sha}",
        )


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api, one = ReposApi(site), "/repos/{owner}/{repo}"
    return [
        Endpoint("GET", "/repos", api.list_repos),
        Endpoint("GET", one, api.get_repo),
        Endpoint("PATCH", one, api.change_repo, errors=(403,)),
        Endpoint("GET", f"{one}/commits/{{sha}}", api.get_commit, errors=(400,)),
    ]
