"""The composition root: git and pages on one port. Nothing imports this file; it may import all."""

import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from hermes.importing import uncollected

with uncollected():
    import uvicorn
    from starlette.applications import Starlette

    from gitserver.app import GitServer
    from gitserver.child import Git
    from gitserver.door import Door
    from gitserver.maintenance import keep_maintaining
    from gitserver.ssh import serving
    from gitserver.taking import Taker
    from hermes import faultpoint, journal
    from hermes.checks import open_sockets
    from hermes.errors import HermesError
    from hermes.http import http_protocol
    from hermes.images import load_images
    from hermes.inputs import keep_sweeping_inputs
    from hermes.invoker import Invoker
    from hermes.journal import log
    from hermes.pools import load_pools
    from hermes.process import leave, open_context, watch_children
    from hermes.reconcile import keep_reconciling
    from hermes.retention import keep_sweeping_old
    from hermes.settings import Settings, load_settings
    from hermes.tasks import beside
    from hermes.throttle import Throttle
    from hermes.title import set_title
    from hooks.app import Hooks
    from web.app import Pages

_OPEN_FILES = 8192
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
        self._captured_signals.clear()  # uvicorn would raise it again, and end us before our contexts close


def make_app(door: Door, closing: asyncio.Event) -> Starlette:
    """Everything that answers on the port."""
    context = door.context
    git = GitServer(door, closing)
    invoker = Invoker(context, door.outlook)
    pages = Pages(invoker, closing)
    hooks = Hooks(invoker, Taker(door).take, pages.site.gates)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        sweeping = keep_sweeping_inputs(context.database, context.paths)
        always = [
            keep_reconciling(context, receives=True),
            keep_maintaining(context, door.git),
            sweeping,
            keep_sweeping_old(context),
            *hooks.always(),
            *pages.always(),
        ]
        async with beside(*always):
            yield

    return Starlette(
        routes=[*git.routes(), *hooks.routes(), *pages.routes()],
        exception_handlers=pages.exception_handlers(),
        middleware=pages.middleware(),
        lifespan=lifespan,
    )


async def serve(settings: Settings, http: socket.socket, ssh: socket.socket | None) -> None:
    """Serve until SIGTERM or SIGINT."""
    watch_children()
    async with open_context(settings) as context, AsyncExitStack() as stack:
        closing = asyncio.Event()
        images, pools = load_images(settings.images), load_pools(settings.pools)
        door = Door(context, images, pools, Git(settings), Throttle(settings.push_rate, 60.0))
        if ssh is not None:
            await stack.enter_async_context(serving(door, closing, ssh))
        config = uvicorn.Config(
            make_app(door, closing),
            loop="asyncio",
            lifespan="on",
            http=http_protocol(),
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_GRACE_S,
            timeout_keep_alive=30,
            server_header=False,
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=settings.proxies,
        )
        log.info("serving", url=settings.public_url, data=str(settings.data.absolute()))
        await Server(config, closing).serve(sockets=[http])


def _allow_open_files() -> None:
    """Each stream is a connection, and 1024 files, which programs get by default, are few of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> None:
    """`python -m hermes.serve`"""
    try:
        settings = load_settings()
        set_title("web", settings.data)
        _allow_open_files()
        journal.configure(settings.log, "serve")
        faultpoint.arm(os.environ, settings.data)
        http, ssh = open_sockets(settings)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        asyncio.run(serve(settings, http, ssh))
    except HermesError as error:
        sys.exit(f"hermes serve: {error}")
    except KeyboardInterrupt:
        pass
    leave()


if __name__ == "__main__":
    main()
