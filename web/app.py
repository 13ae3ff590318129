"""Pages, the API and live logs: rows and files in, HTTP answers out. `hermes.serve` mounts what is here."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute

from hermes.errors import Unavailable, UserError
from hermes.invoker import Invoker
from web import (
    actions,
    admin,
    admin_audit,
    admin_machine,
    again,
    allranks,
    api,
    artifacts,
    atom,
    badge,
    callbacks,
    commit,
    dashboard,
    files,
    functions,
    gpus,
    health,
    keys,
    latest,
    live,
    logparts,
    merged,
    notification_pages,
    queue,
    rawlog,
    readiness,
    reports,
    repository,
    repository_settings,
    result,
    run,
    schedules,
    scrape,
    secrets,
    signin,
    source,
    tokens,
    uploads,
    upstream_page,
)
from web.exporter import Exporter
from web.failures import Failures
from web.guard import BodyLimit, SafeHeaders, SameOrigin
from web.isolated import OnlyPreviews
from web.look import make_look
from web.measured import Measured
from web.notices import Notices
from web.origin import open_origin
from web.rates import Rates
from web.sights import Sights
from web.site import Site
from web.streams import Streams


class Pages:
    """What is asked for on the port besides git."""

    def __init__(self, invoker: Invoker, closing: asyncio.Event) -> None:
        context = invoker.context
        origin = open_origin(context.settings, context.paths.preview_key)
        look, streams = make_look(context.settings, context.room), Streams(context.settings)
        rates, sights = Rates(context.settings), Sights(context, closing)
        exporter = Exporter(context, streams)
        self.site = Site(invoker, closing, look, origin, streams, rates, sights, exporter)
        self.failures = Failures(self.site.look, context.room)

    def routes(self) -> list[BaseRoute]:
        """Fixed addresses first: `/{owner}/{repo}` takes what is left."""
        fixed = (health, readiness, scrape, signin, dashboard, gpus, queue, functions, uploads)
        settings = (tokens, keys, secrets, notification_pages)
        logs = (live, logparts, rawlog, merged, allranks)
        work = (actions, again, *logs, files, artifacts, result, run)
        admins = (admin, admin_machine, admin_audit)
        inside = (upstream_page, repository_settings, schedules, badge, atom, latest)
        of_repos = (*inside, commit, source, repository)
        mine: list[BaseRoute] = [self.site.look.static, *api.routes(self.site)]
        for module in (*fixed, *settings, *work, *admins, *of_repos):
            mine += module.routes(self.site)
        return mine

    def always(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on for as long as the service does."""
        notices = Notices(self.site)
        return [
            callbacks.keep_calling_back(self.site),
            reports.keep_reporting(self.site),
            notices.keep_sending(),
            self.site.exporter.keep_counting(),
        ]

    def exception_handlers(self) -> Mapping[Any, Any]:
        """How errors look."""
        return {
            UserError: self.failures.user_error,
            Unavailable: self.failures.unavailable,
            HTTPException: self.failures.http,
            OSError: self.failures.of_system,
            ClientDisconnect: self.failures.left,
            Exception: self.failures.broken,
        }

    def middleware(self) -> list[Middleware]:
        """What holds for every answer, the outermost first."""
        site = self.site
        return [
            Middleware(Measured, meters=site.exporter.http),
            Middleware(OnlyPreviews, origin=site.origin, context=site.context),
            Middleware(SafeHeaders),
            Middleware(SameOrigin, public_url=site.context.settings.public_url),
            Middleware(BodyLimit),
        ]
