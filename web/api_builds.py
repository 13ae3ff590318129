"""`/api/v1/builds…`: one build, its log, its events, its end."""

from starlette.responses import Response

from hermes.tables import User
from web.actions import actions_of
from web.answers import BuildAnswer
from web.details import build_details
from web.endpoint import Also, Asked, Endpoint, Id
from web.live import events_of
from web.log_query import EVENTS, LOG, BuildEventsQuery, BuildLogQuery
from web.lookup import find_build
from web.rawlog import log_of
from web.shapes import build_answer
from web.site import Site
from web.subjects import build_subject
from web.visitor import address


class BuildsApi:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.actions = actions_of(site)
        self._log, self._events = log_of(site, build_subject), events_of(site, build_subject)

    async def _answer(self, user: User, build_id: int) -> BuildAnswer:
        async with self.site.context.database.read() as session:
            build, place = await find_build(session, user, build_id)
            details = await build_details(session, user, build, place)
        return build_answer(details, self.site.context.settings.public_url)

    async def get_build(self, asked: Asked, build: Id) -> BuildAnswer:
        """One build."""
        return await self._answer(asked.user, build)

    async def cancel_build(self, asked: Asked, build: Id) -> BuildAnswer:
        """Ask for the end of a build.

        What is over stays as it is. It needs the right to push."""
        await self.actions.cancel_build(asked.user, build, address(asked.request))
        return await self._answer(asked.user, build)

    async def get_build_log(self, asked: Asked, build: Id, query: BuildLogQuery) -> Response:
        """What a build printed, byte for byte, as far as it has come.

        One `Range` is understood; all of it comes compressed to who accepts gzip."""
        return await self._log(asked.request)

    async def get_build_events(self, asked: Asked, build: Id, query: BuildEventsQuery) -> Response:
        """What happens to a build, as it happens: its states, and its log.

        `Last-Event-ID` resumes at the byte."""
        return await self._events(asked.request)


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api, one = BuildsApi(site), "/builds/{build}"
    ranged = {206: Also("the range that was asked for", content=LOG)}
    return [
        Endpoint("GET", one, api.get_build),
        Endpoint("POST", f"{one}/cancel", api.cancel_build, 202, (403,)),
        Endpoint("GET", f"{one}/log", api.get_build_log, errors=(416,), content=LOG, others=ranged),
        Endpoint("GET", f"{one}/events", api.get_build_events, content=EVENTS),
    ]
