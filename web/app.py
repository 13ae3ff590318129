"""Pages, the API and live logs: rows and files in, HTTP answers out."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from hermes.images import ImageTable
from hermes.process import Context


class Pages:
    """What `hermes.serve` mounts after git's routes."""

    def __init__(self, context: Context, images: ImageTable, closing: asyncio.Event) -> None:
        self.context = context
        self.images = images
        self.closing = closing

    def routes(self) -> list[BaseRoute]:
        """All paths of the pages and the API."""
        return [Route("/healthz", self.healthz)]

    def exception_handlers(self) -> dict[Any, Callable[..., Any]]:
        """How errors look."""
        return {}

    def middleware(self) -> list[Middleware]:
        """What holds for every answer."""
        return []

    async def healthz(self, request: Request) -> Response:
        """Whether a push would work."""
        return JSONResponse({"status": "ok"})
