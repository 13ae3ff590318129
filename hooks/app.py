"""Events from outside that start work: what listens on the port, and what goes on for as long as it does."""

from collections.abc import Coroutine
from typing import Any

from starlette.routing import BaseRoute

from hermes.forges.talk import Gates
from hermes.invoker import Invoker
from hermes.taking import Take
from hermes.uploads import Uploads
from hooks.collaborators import Collaborators
from hooks.fetching import Fetching
from hooks.polling import Polling
from hooks.schedules import keep_firing
from hooks.unfinished import keep_tidy
from hooks.watching import Watcher
from hooks.webhooks import Webhooks


class Hooks:
    """Mounted by `hermes.serve`; `take`: the receiver of pushes takes what was fetched; `gates`: what this
    process knows of the limits of forges."""

    def __init__(self, invoker: Invoker, take: Take, gates: Gates) -> None:
        self._context = context = invoker.context
        self._webhooks, self._polling = Webhooks(context), Polling(context)
        self._fetching = Fetching(context, take, self._polling)
        self._collaborators = Collaborators(self._context, gates)
        self._uploads = Uploads(context, invoker)

    def routes(self) -> list[BaseRoute]:
        """Before the pages: their addresses are fixed."""
        return [*self._webhooks.routes()]

    def always(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on for as long as the service does."""
        watcher = Watcher(self._context, self._uploads)
        from_elsewhere = [self._fetching.keep(), self._polling.keep(), self._collaborators.keep()]
        return [
            *from_elsewhere,
            keep_firing(self._context),
            keep_tidy(self._uploads),
            watcher.keep_watching(),
        ]
