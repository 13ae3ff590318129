"""The command `hermes`."""

import sys

import click

from hermes import __version__
from hermes.cli.admin import admin
from hermes.cli.images import images
from hermes.cli.serving import demo, up
from hermes.errors import HermesError, UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hermes")
def hermes() -> None:
    """git push gpu main: builds, runs on a GPU, and shows itself."""


for command in (up, demo, admin, images):
    hermes.add_command(command)


def main() -> None:
    """The entry point; an error is one clear line with the next step, never a traceback."""
    try:
        hermes()
    except HermesError as error:
        hint = f"\n  {error.hint}" if isinstance(error, UserError) and error.hint else ""
        sys.exit(f"hermes: {error}{hint}")
