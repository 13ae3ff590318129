"""The composition root: git and pages on one port. Nothing imports this file; it may import all."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette

from gitserver.app import GitServer
from gitserver.child import Git
from gitserver.push import Door
from hermes import journal
from hermes.checks import open_socket
from hermes.errors import HermesError
from hermes.images import load_images
from hermes.journal import log
from hermes.process import Context, open_context
from hermes.reconcile import keep_reconciling
from hermes.settings import Settings, load_settings
from hermes.throttle import Throttle
from web.app import Pages

_GRACE_S = 5  # for requests that are at work when the service stops


class Server(uvicorn.Server):
    """Uvicorn that tells streams to end before it waits for them."""

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        super().__init__(config)
        self._closing = closing

    def handle_exit(self, sig: int, frame: object) -> None:
        """The first signal."""
        self._closing.set()
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


def make_app(context: Context, closing: asyncio.Event) -> Starlette:
    """Everything that answers on the port."""
    images = load_images(context.settings.images)
    settings = context.settings
    door = Door(context, images, Git(settings), Throttle(settings.push_rate, 60.0))
    git = GitServer(door, closing)
    pages = Pages(context, images, closing)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        reconciling = asyncio.create_task(keep_reconciling(context))
        yield
        reconciling.cancel()

    return Starlette(
        routes=[*git.routes(), *pages.routes()],
        exception_handlers=pages.exception_handlers(),
        middleware=pages.middleware(),
        lifespan=lifespan,
    )


async def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT."""
    async with open_context(settings) as context:
        closing = asyncio.Event()
        config = uvicorn.Config(
            make_app(context, closing),
            loop="asyncio",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_GRACE_S,
            timeout_keep_alive=30,
            server_header=False,
            proxy_headers=False,
        )
        log.info("serving", url=settings.public_url, data=str(settings.data.absolute()))
        await Server(config, closing).serve(sockets=[listener])


def main() -> None:
    """`python -m hermes.serve`"""
    try:
        settings = load_settings()
        journal.configure(settings.log, "serve")
        listener = open_socket(settings)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        asyncio.run(serve(settings, listener))
    except HermesError as error:
        sys.exit(f"hermes serve: {error}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
