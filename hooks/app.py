"""Events from outside that start work: what listens on the port, and what goes on for as long as it does."""

from collections.abc import Coroutine
from typing import Any

from starlette.routing import BaseRoute

from hermes.process import Context
from hermes.taking import Take
from hooks.fetching import Fetching
from hooks.polling import Polling
from hooks.schedules import keep_firing
from hooks.webhooks import Webhooks


class Hooks:
    """Mounted by `hermes.serve`; `take`: the receiver of pushes takes what was fetched."""

    def __init__(self, context: Context, take: Take) -> None:
        self._context = context
        self._webhooks, self._polling = Webhooks(context), Polling(context)
        self._fetching = Fetching(context, take, self._polling)

    def routes(self) -> list[BaseRoute]:
        """Before the pages: their addresses are fixed."""
        return [*self._webhooks.routes()]

    def always(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on for as long as the service does."""
        return [keep_firing(self._context), self._fetching.keep(), self._polling.keep()]
