"""A command that asks a server: which one, with which token, and what it prints besides its answer."""

import functools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from hermes.cli.servers import Servers, load_servers
from hermes.client import Client
from hermes.client.errors import Unauthorized
from hermes.errors import UserError

R = TypeVar("R")

as_json = click.option("--json", "-j", "as_json", is_flag=True, help="JSON, as the API says it.")
server_option = click.option(
    "--server",
    envvar="HERMES_SERVER",
    metavar="URL",
    default="",
    help="Which server; default: $HERMES_SERVER, else where you signed in last.",
)


def known_servers() -> Servers:
    """Of this user, below the XDG configuration folder."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return load_servers(Path(base) / "hermes")


def connect(server: str) -> Client:
    """A client of the server that is meant. Raises UserError when there is none, or no token."""
    servers = known_servers()
    url = servers.find(server) if server else servers.default
    if not url:
        raise UserError("you are not signed in to a server", "hermes login http://gpu.lab:8000")
    token = os.environ.get("HERMES_TOKEN") or (servers.token(url) if url in servers.logins else "")
    if not token:
        raise UserError(f"you are not signed in to {url}", f"hermes login {url}, or set HERMES_TOKEN")
    return Client(url, token)


@contextmanager
def connection(server: str) -> Iterator[Client]:
    """The same for a while; a token that is not taken is told with the next step."""
    with connect(server) as client:
        try:
            yield client
        except Unauthorized as error:
            words = f"{client.url} does not take the token: {error}"
            raise UserError(words, f"hermes login {client.url}") from None


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


def note(words: str) -> None:
    """To a person, besides the output."""
    click.echo(f"hermes: {words}", err=True)


def whole_name(client: Client, function: str) -> str:
    """`pi` is one's own: `alice/pi`. Raises UserError where nobody knows who one is."""
    if "/" in function.partition("@")[0].partition(":")[0]:
        return function
    login = known_servers().logins.get(client.url)
    if login is None:
        raise UserError(f"{function[:80]!r} has no owner", f"write OWNER/{function[:80]}")
    return f"{login.user}/{function}"
