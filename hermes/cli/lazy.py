"""Groups of commands that are imported when they are called: all of them take a second, most need a third."""

import importlib
from collections.abc import Mapping
from typing import Any

import click

from hermes.importing import uncollected


class LazyGroup(click.Group):
    """What a command does not import, it neither waits for nor holds in memory. `places`: for each command
    `module:attribute` below hermes.cli."""

    def __init__(self, *args: Any, places: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._places:
            return None
        module, _, attribute = self._places[cmd_name].partition(":")
        with uncollected():
            command: click.Command = getattr(importlib.import_module(f"hermes.cli.{module}"), attribute)
        return command
