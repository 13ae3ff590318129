"""`hermes up`."""

import click

from hermes.settings import load_settings
from hermes.up import up as serve


@click.command()
def up() -> None:
    """Serve in the foreground: git and pages, builder, runner, Redis. Ctrl-C or SIGTERM ends it."""
    serve(load_settings())
