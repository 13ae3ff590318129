"""Which server is asked, with which token, and what is said besides its answer; without click."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hermes.cli.servers import Servers, load_servers
from hermes.client import Client
from hermes.client.errors import Unauthorized
from hermes.errors import HermesError, UserError


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


def whole_name(client: Client, function: str) -> str:
    """`pi` is one's own: `alice/pi`. Raises UserError where nobody knows who one is."""
    if "/" in function.partition("@")[0].partition(":")[0]:
        return function
    login = known_servers().logins.get(client.url)
    if login is None:
        raise UserError(f"{function[:80]!r} has no owner", f"write OWNER/{function[:80]}")
    return f"{login.user}/{function}"


def note(words: str) -> None:
    """To a person, besides the output."""
    if sys.stderr is not None:
        print(f"hermes: {words}", file=sys.stderr, flush=True)


def complain(error: HermesError) -> None:
    """What happened, and the next step."""
    hint = f"\n  {error.hint}" if isinstance(error, UserError) and error.hint else ""
    note(f"{error}{hint}")
