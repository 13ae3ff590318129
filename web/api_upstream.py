"""`/api/v1/repos/{owner}/{repo}/upstream`: the repository elsewhere that one here follows, for programs."""

from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.arrivals import Arrival
from hermes.cause import read_cause
from hermes.repos import check_writable, get_readable
from hermes.tables import User
from web.api_connect import FollowedAnswer, upstream_fields
from web.connected import Ours
from web.connecting import Connecting
from web.endpoint import Asked, Endpoint, Id, Name
from web.following import Asking, followed
from web.lookup import Place
from web.reading import Body
from web.site import Site

_BranchName = Annotated[str, Field(max_length=200)]


class ArrivalAnswer(BaseModel):
    """A ref that is to be looked at there, or was; empty: all branches and tags. `state`: held, waiting,
    taken, unchanged, refused or failed; `push`: what it became."""

    id: int
    source: str
    event: str
    ref: str
    sha: str
    pull_request: int | None
    sender: str
    why: str
    why_url: str
    state: str
    reason: str
    tries: int
    push: int | None
    created_at: float
    ended_at: float | None


class UpstreamAnswer(FollowedAnswer):
    """A repository elsewhere, and what has come of it lately."""

    arrivals: list[ArrivalAnswer]


class FetchWish(Body):
    """A branch or a tag to look at; without both: all branches and tags."""

    branch: _BranchName = ""
    tag: _BranchName = ""


class UpstreamApi:
    """The handlers, for who may push."""

    def __init__(self, site: Site) -> None:
        self.database, self.asking = site.context.database, Asking(site.context)
        self.connecting = Connecting(site)

    async def get_upstream(self, asked: Asked, owner: Name, repo: Name) -> UpstreamAnswer:
        """The repository elsewhere that this one follows, and what has come of it lately."""
        async with self.database.read() as session:
            place = await _writable(session, asked.user, owner, repo)
            found = await followed(session, place.repo)
        ours = Ours(owner, repo)
        fields = upstream_fields(await self.connecting.find(asked.user, ours), ours)
        return UpstreamAnswer(**fields, arrivals=[_answer(each) for each in found.arrivals] if found else [])

    async def fetch(self, asked: Asked, owner: Name, repo: Name, body: FetchWish) -> ArrivalAnswer:
        """Look there now, at one branch, one tag, or all branches and tags."""
        async with self.database.read() as session:
            place = await _writable(session, asked.user, owner, repo)
        return _answer(await self.asking.fetch(place, asked.by, body.branch, body.tag))

    async def let_run(self, asked: Asked, owner: Name, repo: Name, arrival: Id) -> ArrivalAnswer:
        """Let a commit of a pull request from elsewhere run, which waits for a collaborator."""
        async with self.database.read() as session:
            place = await _writable(session, asked.user, owner, repo)
        return _answer(await self.asking.let_run(place, asked.by, arrival))


async def _writable(session: AsyncSession, user: User, owner: str, name: str) -> Place:
    """Raises NotFound, Refused."""
    repo = await get_readable(session, user, owner, name)
    await check_writable(session, user, repo, owner, name)
    return Place(repo, owner)


def _answer(arrival: Arrival) -> ArrivalAnswer:
    cause = read_cause(arrival.cause)
    names = ("id", "source", "event", "ref", "sha", "pull_request", "sender", "state", "reason", "tries")
    return ArrivalAnswer(
        **{name: getattr(arrival, name) for name in names},
        why=cause.words,
        why_url=cause.url,
        push=arrival.push_id,
        created_at=arrival.created_at,
        ended_at=arrival.ended_at,
    )


def endpoints(site: Site) -> list[Endpoint]:
    """Who may push sees and asks."""
    api, one = UpstreamApi(site), "/repos/{owner}/{repo}/upstream"
    return [
        Endpoint("GET", one, api.get_upstream, errors=(403,)),
        Endpoint("POST", f"{one}/fetch", api.fetch, status=202, errors=(400, 403)),
        Endpoint("POST", f"{one}/arrivals/{{arrival}}/run", api.let_run, status=202, errors=(403,)),
    ]
