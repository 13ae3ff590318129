"""What every handler needs, in one place: the context, the look of pages, and who asks."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hermes.accounts import Identity
from hermes.images import ImageTable
from hermes.process import Context
from hermes.tables import User
from web.feed import Sights
from web.look import Look
from web.streams import Streams
from web.visitor import reader, visitor


@dataclass(frozen=True)
class Site:
    """`closing` ends the streams when the service stops."""

    context: Context
    images: ImageTable
    closing: asyncio.Event
    look: Look
    streams: Streams
    sights: Sights = field(default_factory=Sights)

    async def visitor(self, request: Request) -> Identity:
        """Raises SignInNeeded."""
        return await visitor(request, self.context)

    async def user(self, request: Request) -> User:
        """Raises SignInNeeded."""
        return (await self.visitor(request)).user

    async def reader(self, request: Request) -> User | None:
        """Of pages that a public repository shows to everybody. Raises SignInNeeded."""
        return await reader(request, self.context)

    def page(self, request: Request, template: str, **values: Any) -> Response:
        """A whole page."""
        return self.look.page(request, template, values)


def number(params: Mapping[str, Any], name: str) -> int:
    """A row's id in a path; what cannot be one is 0, which no row has."""
    text = str(params.get(name, ""))
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0
