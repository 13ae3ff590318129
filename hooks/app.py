"""Events from outside that start work: what listens on the port, and what goes on for as long as it does."""

from collections.abc import Coroutine
from typing import Any

from starlette.routing import BaseRoute

from hermes.process import Context
from hooks.schedules import keep_firing


class Hooks:
    """Mounted by `hermes.serve`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[BaseRoute]:
        """Before the pages: their addresses are fixed."""
        return []

    def always(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on for as long as the service does."""
        return [keep_firing(self._context)]
