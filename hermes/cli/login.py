"""`hermes login`, `logout`, `whoami`: who one is, where. Git's credential helper says it to git."""

import os
import sys
from urllib.parse import urlsplit

import click

from hermes.cli import git_setup
from hermes.cli.asking import connection, known_servers, note
from hermes.cli.remote import as_json, say_json, server_option
from hermes.client import Client
from hermes.client.calls import address_of
from hermes.client.errors import Unauthorized
from hermes.errors import UserError
from hermes.units import show_span


@click.command()
@click.argument("url", required=False, default="")
@click.option("--token-stdin", is_flag=True, help="Read the token from stdin, for scripts.")
@click.option("--no-git", is_flag=True, help="Leave git's settings and remotes as they are.")
def login(url: str, token_stdin: bool, no_git: bool) -> None:
    """Sign in to the server at URL, and let git do so too.

    Keeps the token in the system's keyring if there is one, else in a file that only you can read. In a git
    repository it adds the remote `gpu` unless there is one."""
    servers = known_servers()
    url = address_of(url or os.environ.get("HERMES_SERVER", "") or servers.default)
    with Client(url) as stranger:
        stranger.version()  # whether it is a server at all, before a token is asked for
    token = _ask_token(url, token_stdin)
    with Client(url, token) as client:
        try:
            user = client.user()
        except Unauthorized as error:
            raise UserError(str(error), f"make a token at {url}/settings/tokens") from None
    where = servers.remember(url, user["name"], token)
    click.echo(f"signed in to {url} as {user['name']}; the token is in {where}")
    if url.startswith("http:") and urlsplit(url).hostname not in ("localhost", "127.0.0.1", "::1"):
        note("http is not encrypted: who listens on this network can read the token")
    if not no_git:
        for words in git_setup.set_up(url, user["name"]):
            click.echo(words)


def _ask_token(url: str, from_stdin: bool) -> str:
    if from_stdin:
        token = sys.stdin.readline().strip()
    elif sys.stdin.isatty():
        click.echo(f"A token from {url}/settings/tokens", err=True)
        token = click.prompt("Token", hide_input=True, err=True).strip()
    else:
        raise UserError("there is no terminal to ask for the token", "hermes login URL --token-stdin < FILE")
    if not token or not token.isascii() or any(mark.isspace() for mark in token):
        raise UserError("that is no token", f"make one at {url}/settings/tokens; it begins with hermes_")
    return str(token)


@click.command()
@click.argument("url", required=False, default="")
def logout(url: str) -> None:
    """Forget the token of the server at URL, and git's settings for it.

    Without URL of the one where you signed in last."""
    servers = known_servers()
    url = servers.find(url) if url else servers.default
    login = servers.forget(url) if url else None
    if login is None:
        raise UserError(f"you are not signed in to {url or 'a server'}", "hermes whoami")
    git_setup.take_back(url)
    click.echo(f"signed out of {url}; the token itself stays good: {url}/settings/tokens")


@click.command()
@as_json
@server_option
def whoami(as_json: bool, server: str) -> None:
    """Who the server takes you for, and for how long."""
    with connection(server) as client:
        user = client.user()
    if as_json:
        say_json({"server": client.url, **user})
        return
    token = user["token"]
    rights = "admin, " if user["is_admin"] else ""
    click.echo(
        f"{user['name']} at {client.url} ({rights}token {token['name']!r}, {_until(token['expires_at'])})"
    )
    for url, each in known_servers().logins.items():
        if url != client.url:
            click.echo(f"{each.user} at {url} with --server {urlsplit(url).netloc}")


def _until(expires_at: float | None) -> str:
    import time

    if expires_at is None:
        return "until it is revoked"
    return f"for {show_span(max(expires_at - time.time(), 0))} more"


@click.command("git-credential", hidden=True)
@click.argument("operation")
def git_credential(operation: str) -> None:
    """What git runs: says the token for a server that one is signed in to."""
    asked = dict(line.rstrip("\n").partition("=")[::2] for line in sys.stdin)
    servers = known_servers()
    url = servers.at(f"{asked.get('protocol', '')}://{asked.get('host', '')}")
    login = servers.logins.get(url)
    if login is None or asked.get("username", login.user) != login.user:
        return
    if operation == "get":
        click.echo(f"username={login.user}\npassword={servers.token(url)}")
    elif operation == "erase":
        note(f"{url} does not take the token of {login.user}: hermes login {url}")
