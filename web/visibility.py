"""`/api/v1/repos/{owner}/{repo}/visibility`: whether everybody may read it, for programs."""

from typing import Annotated, Any

from hermes.audit import write_down
from hermes.errors import Refused
from hermes.repos import get_readable, may_manage
from hermes.tables import Repo
from hermes.visibility import what_shows
from web.answers import VisibilityAnswer
from web.endpoint import Asked, Endpoint, Name
from web.reading import Body, checked
from web.site import Site

_SHAPE = 'send {"public": true} or {"public": false}'


class VisibilityWish(Body):
    """Whether it is to be public."""

    public: bool


class VisibilityApi:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self.database = site.context.database

    async def get_visibility(self, asked: Asked, owner: Name, repo: Name) -> VisibilityAnswer:
        """Who may read a repository, and what they see."""
        async with self.database.read() as session:
            row = await get_readable(session, asked.user, owner, repo)
            shows = (await what_shows(session, row.id))._asdict()
        return VisibilityAnswer(repo=f"{owner}/{repo}", public=row.public, shows=shows)

    async def set_visibility(
        self, asked: Asked, owner: Name, repo: Name, body: Annotated[dict[str, Any], VisibilityWish]
    ) -> VisibilityAnswer:
        """Let everybody read a repository, or members only.

        For its owner and admins."""
        async with self.database.write() as session:
            row = await get_readable(session, asked.user, owner, repo)
            if not may_manage(asked.user, row):
                raise Refused("only its owner and admins change who may read it", f"ask {owner} to do it")
            public = checked(VisibilityWish, body, _SHAPE).public  # who may not is not told how
            (await session.get_one(Repo, row.id)).public = public
            what = f"visibility={'public' if public else 'private'}"
            write_down(session, asked.by, "repo settings", f"{owner}/{repo}", what)
        return await self.get_visibility(asked, owner, repo)


def endpoints(site: Site) -> list[Endpoint]:
    """Who may read it asks; its owner and admins change it."""
    api, address = VisibilityApi(site), "/repos/{owner}/{repo}/visibility"
    return [
        Endpoint("GET", address, api.get_visibility),
        Endpoint("PUT", address, api.set_visibility, errors=(403,)),
    ]
