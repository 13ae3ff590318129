"""What people ask of a repository that follows one elsewhere: look there now, let a stranger's commit run."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from hermes.arrivals import ARRIVALS, Arrival, put, recent, release
from hermes.audit import Actor, write_down
from hermes.cause import Cause
from hermes.database import Database
from hermes.errors import NotFound, Refused
from hermes.names import check_branch
from hermes.process import Context
from hermes.refs import BRANCHES, TAGS
from hermes.tables import Repo
from hermes.upstreams import Upstream, upstream_of
from web.lookup import Place

SHOWN = 20


@dataclass(frozen=True)
class Followed:
    """A repository elsewhere, and what has come of it lately."""

    upstream: Upstream
    arrivals: list[Arrival]


async def followed(session: AsyncSession, repo: Repo) -> Followed | None:
    """If it follows one."""
    upstream = await upstream_of(session, repo.id)
    return None if upstream is None else Followed(upstream, list(await recent(session, repo.id, SHOWN)))


async def get_upstream(session: AsyncSession, place: Place) -> Upstream:
    """Raises NotFound."""
    upstream = await upstream_of(session, place.repo.id)
    if upstream is None:
        raise NotFound(f"{place.name} follows no repository elsewhere", "hermes github connect OWNER/REPO")
    return upstream


@dataclass(frozen=True)
class Asking:
    """Each writes one transaction and rings."""

    context: Context

    @property
    def database(self) -> Database:
        """Of this instance."""
        return self.context.database

    async def fetch(self, place: Place, by: Actor, branch: str = "", tag: str = "") -> Arrival:
        """Look there now: at a branch, a tag, or without both at all branches. Raises NotFound, UserError."""
        ref = BRANCHES + check_branch(branch) if branch else TAGS + check_branch(tag) if tag else ""
        async with self.database.write() as session:
            upstream = await get_upstream(session, place)
            cause = Cause(
                f"fetched from {upstream.name} for {by.user}", f"{upstream.base_url}/{upstream.name}"
            )
            arrival = Arrival(
                repo_id=place.repo.id, source="asked", ref=ref, sender=by.user, cause=cause.row()
            )
            put(session, arrival)
            await session.flush()
            write_down(session, by, "fetch asked for", place.name, ref or "all branches")
        await self.context.doorbell.ring(ARRIVALS)
        return arrival

    async def let_run(self, place: Place, by: Actor, arrival_id: int) -> Arrival:
        """A commit that waits for a collaborator's word. Raises NotFound, Refused."""
        async with self.database.write() as session:
            arrival = await session.get(Arrival, arrival_id)
            if arrival is None or arrival.repo_id != place.repo.id:
                raise NotFound(f"{place.name} has no such arrival")
            if arrival.state != "held":
                raise Refused(
                    f"it does not wait for anybody: {arrival.reason or arrival.state}", "look again"
                )
            release(arrival, by.user)
            what = f"pull request {arrival.pull_request} at {arrival.sha[:12]}"
            write_down(session, by, "commit let run", place.name, what)
        await self.context.doorbell.ring(ARRIVALS)
        return arrival
