"""How many answers of a costly kind are sent at a time: so many in all, and so many for one visitor."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hermes.errors import TooMany
from hermes.tables import User
from web.tally import Tally
from web.visitor import address

_WAIT_S = 10


class Crowd:
    """Those that are being sent now. `what` is plural."""

    def __init__(self, what: str, most: int, most_each: int) -> None:
        self._what, self._most, self._most_each = what, most, most_each
        self._now = Tally()

    def admit(self, request: Request, user: User | None, answer: Response) -> Response:
        """The same answer, counted until it is sent or its reader is gone. Raises TooMany."""
        who = f"user {user.id}" if user else address(request)
        if self._now.total() >= self._most or self._now.of(who) >= self._most_each:
            raise TooMany(f"too many {self._what} are being sent", _WAIT_S)
        return _Counted(self._now, who, answer)


class _Counted(Response):
    def __init__(self, now: Tally, who: str, answer: Response) -> None:
        self._now, self._who, self._answer = now, who, answer
        self.raw_headers, self.status_code, self.background = answer.raw_headers, answer.status_code, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._now.one_more(self._who):
            await self._answer(scope, receive, send)
