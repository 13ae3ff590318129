"""The command `hermes`."""

import importlib
import sys

import click

from hermes import __version__
from hermes.errors import HermesError, UserError

# each in a module of its name, imported when it is called
COMMANDS = ("init", "templates", "up", "demo", "admin", "images", "gpus", "doctor")


class _Commands(click.Group):
    """Imports a command when it is needed: what `hermes up` does not import, it does not hold in memory."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"hermes.cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hermes")
def hermes() -> None:
    """git push gpu main: builds, runs on a GPU, and shows itself."""


def main() -> None:
    """The entry point; an error is one clear line with the next step, never a traceback."""
    try:
        hermes()
    except HermesError as error:
        hint = f"\n  {error.hint}" if isinstance(error, UserError) and error.hint else ""
        sys.exit(f"hermes: {error}{hint}")
