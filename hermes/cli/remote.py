"""Commands that ask a server: their options, and JSON."""

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from hermes.cli.asking import connection

R = TypeVar("R")

as_json = click.option("--json", "-j", "as_json", is_flag=True, help="JSON, as the API says it.")
server_option = click.option(
    "--server",
    envvar="HERMES_SERVER",
    metavar="URL",
    default="",
    help="Which server; default: $HERMES_SERVER, else where you signed in last.",
)


def asks(command: Callable[..., R]) -> Callable[..., R]:
    """A command whose first argument is a client; adds `--server`."""

    @server_option
    @functools.wraps(command)
    def connected(*args: Any, server: str, **rest: Any) -> R:
        with connection(server) as client:
            return command(client, *args, **rest)

    return connected


def say_json(answer: Any) -> None:
    """One document on stdout."""
    click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
