"""How many live logs are open at a time: of one user, of one stranger's address, of all together."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import uniform

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hermes.errors import TooMany, Unavailable
from hermes.journal import log
from hermes.settings import Settings
from hermes.tables import User
from hermes.throttle import source
from web.eventstream import StoppedReading
from web.tally import Tally
from web.visitor import address, bearer

_WAIT_S = 15.0


class Streams:
    """Looks for a place for each."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._users, self._strangers = Tally(), Tally()

    def open_now(self) -> dict[str, int]:
        """How many, by who follows them."""
        return {"user": self._users.total(), "anonymous": self._strangers.total()}

    def bounded(self, request: Request, answer: Response) -> Response:
        """The same answer: it holds a place while it is sent, and is refused when there is none."""
        return _Bounded(self, request, answer)

    @contextmanager
    def place(self, request: Request) -> Iterator[None]:
        """Hold one. Raises TooMany for who holds many, Unavailable when all together do."""
        user: User | None = getattr(request.state, "user", None)
        whose = self._strangers if user is None else self._users
        key = source(address(request)) if user is None else str(user.id)
        self._check(user, whose.of(key))
        with whose.one_more(key):
            yield

    def _check(self, user: User | None, held: int) -> None:
        """Strangers, whose addresses may be many, together get no more than half: users find a place."""
        settings = self._settings
        most = settings.address_streams if user is None else settings.user_streams
        if most and held >= most:
            who = "your address has" if user is None else f"{user.name} has"
            raise TooMany(f"{who} {held} live logs open, and may have no more", _WAIT_S)
        strangers, users = self._strangers.total(), self._users.total()
        half = user is None and strangers >= max(settings.streams // 2, 1)
        if settings.streams and (half or strangers + users >= settings.streams):
            raise Unavailable("as many live logs are open as this server may have")


class _Bounded(Response):
    """Looks for a place when the answer begins; from then on it is an answer like any other."""

    def __init__(self, streams: Streams, request: Request, answer: Response) -> None:
        self._streams, self._request, self._answer = streams, request, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with ExitStack() as stack:
            try:
                stack.enter_context(self._streams.place(self._request))
            except (TooMany, Unavailable) as refusal:
                if not _comes_back(self._request):
                    raise
                await _later(str(refusal))(scope, receive, send)
                return
            try:
                await self._answer(scope, receive, send)
            except StoppedReading:  # nobody's mistake: the connection ends, and its viewer may resume
                log.info("a viewer has stopped reading", path=scope["path"])


def _comes_back(request: Request) -> bool:
    """A page's EventSource: after any other status than 200 it never asks again."""
    return bearer(request) is None and "text/event-stream" in request.headers.get("accept", "")


def _later(words: str) -> Response:
    """An empty stream that says when to ask again; not all at the same moment."""
    wait_ms = round(uniform(0.7, 1.3) * _WAIT_S * 1000)
    body = f"retry: {wait_ms}\nevent: reconnect\ndata: {json.dumps({'words': words})}\n\n"
    return Response(body, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
