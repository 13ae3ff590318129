"""`hermes admin`: for the one person who keeps the machine alive. Works with the service running or not."""

import click

from hermes.cli.lazy import LazyGroup
from hermes.cli.names import ADMIN


@click.group(cls=LazyGroup, places=ADMIN)
def admin() -> None:
    """Users, tokens, keys, secrets, repositories, GPUs in quarantine, old data, backups, programs left."""
