"""What every handler needs, in one place: the context, the look of pages, and who asks."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hermes.accounts import Identity
from hermes.errors import NotFound
from hermes.forges.talk import Gates
from hermes.images import ImageTable
from hermes.invoker import Invoker
from hermes.pools import PoolTable
from hermes.process import Context
from hermes.tables import User
from web.byrank import ByRank
from web.bytime import ByTime
from web.exporter import Exporter
from web.lines import LineIndex, PerLog, Recent
from web.look import Look
from web.origin import Origin
from web.outline import Outline
from web.rates import Rates
from web.sights import Sights
from web.streams import Streams
from web.visitor import reader, visitor


@dataclass(frozen=True)
class Site:
    """`closing` ends the streams when the service stops; `origin` is where HTML of strangers may be shown."""

    invoker: Invoker
    closing: asyncio.Event
    look: Look
    origin: Origin | None
    streams: Streams
    rates: Rates
    sights: Sights
    exporter: Exporter
    gates: Gates = field(default_factory=Gates)
    line_indexes: PerLog[LineIndex] = field(default_factory=lambda: PerLog(LineIndex, 500))
    outlines: PerLog[Outline] = field(default_factory=lambda: PerLog(Outline, 50))
    by_time: Recent[tuple[int, int], ByTime] = field(init=False)  # by a run and its first rank that is shown
    by_rank: Recent[tuple[int, int], ByRank] = field(init=False)

    def __post_init__(self) -> None:
        indexes = self.line_indexes
        object.__setattr__(self, "by_time", Recent(lambda _key: ByTime(indexes), 4))
        object.__setattr__(self, "by_rank", Recent(lambda _key: ByRank(indexes), 50))

    @property
    def context(self) -> Context:
        """Settings, database, doorbell."""
        return self.invoker.context

    @property
    def images(self) -> ImageTable:
        """The base images of this instance."""
        return self.invoker.outlook.images

    @property
    def pools(self) -> PoolTable:
        """Its pools of GPUs."""
        return self.invoker.outlook.pools

    async def visitor(self, request: Request) -> Identity:
        """Raises SignInNeeded."""
        return await visitor(request, self.context)

    async def user(self, request: Request) -> User:
        """Raises SignInNeeded."""
        return (await self.visitor(request)).user

    async def reader(self, request: Request) -> User | None:
        """Of pages that a public repository shows to everybody. Raises SignInNeeded."""
        return await reader(request, self.context)

    async def admin(self, request: Request) -> User:
        """Of the pages for operators. Raises SignInNeeded, NotFound for everybody else."""
        user = await self.user(request)
        if not user.is_admin:
            raise NotFound("there is no such page")
        return user

    def page(self, request: Request, template: str, **values: Any) -> Response:
        """A whole page."""
        return self.look.page(request, template, values)


def number(params: Mapping[str, Any], name: str) -> int:
    """A row's id in a path; what cannot be one is 0, which no row has."""
    return as_number(str(params.get(name, "")))


def rank_asked(query: Mapping[str, str]) -> int | None:
    """The number in `?rank=`; None: the first that there is."""
    return number(query, "rank") if "rank" in query else None


def as_number(text: str) -> int:
    """0 for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0
