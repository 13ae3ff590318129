"""`hermes doctor` where there is no instance: whether this machine can use the server it is signed in to."""

import os
import time

from hermes import __version__
from hermes.checks import check_git
from hermes.cli import git_setup
from hermes.cli.asking import known_servers
from hermes.client import Client
from hermes.client.answers import User
from hermes.client.errors import ClientError, Unauthorized
from hermes.doctor.findings import Finding, note, ok, problem, warning
from hermes.errors import HermesError, SettingsError, UserError
from hermes.units import show_span

_SOON_S = 7 * 86400.0


def examine_client(server: str) -> list[Finding]:
    """The server, our token there, git."""
    try:
        servers = known_servers()
        url = servers.find(server)
        token = os.environ.get("HERMES_TOKEN") or (servers.token(url) if url in servers.logins else "")
        client = Client(url, token)
    except HermesError as error:
        return [_trouble("server", error), _git_itself()]
    with client:
        findings = [_server(client)]
        if findings[0].status != "problem":
            findings.append(_token(client))
    return [*findings, _git_itself(), _git_helper(client.url)]


def _trouble(name: str, error: HermesError) -> Finding:
    hint = error.hint if isinstance(error, UserError) else ""
    return problem(name, str(error), hint or "hermes login URL")


def _server(client: Client) -> Finding:
    began = time.monotonic()
    try:
        said = client.version()
    except ClientError as error:
        return _trouble("server", error)
    took = show_span(time.monotonic() - began)
    words = f"{client.url} answers within {took}: hermes {said['version']}, API {said['api']}"
    if said["version"] != __version__:
        return note(
            "server", f"{words}; this is hermes {__version__}", f"install hermes {said['version']} here"
        )
    return ok("server", words)


def _token(client: Client) -> Finding:
    step = f"hermes login {client.url}"
    if not client.token:
        return problem("token", "you are not signed in there", step)
    try:
        return _life(client.user(), step)
    except Unauthorized as error:
        return problem("token", f"it is not taken: {error}", step)
    except ClientError as error:
        return _trouble("token", error)


def _life(user: User, step: str) -> Finding:
    token = user["token"]
    whose = f"you are {user['name']}{' (admin)' if user['is_admin'] else ''}, by token {token['name']!r}"
    if token["expires_at"] is None:
        return ok("token", f"{whose}, until it is revoked")
    left_s = max(token["expires_at"] - time.time(), 0)
    words = f"{whose}, for {show_span(left_s)} more"
    return ok("token", words) if left_s > _SOON_S else warning("token", words, step)


def _git_itself() -> Finding:
    try:
        return ok("git", check_git())
    except SettingsError as error:
        found, _, step = str(error).partition(": ")
        return problem("git", found, step or "install a newer git")


def _git_helper(url: str) -> Finding:
    if git_setup.is_set_up(url):
        return ok("git token", f"git asks hermes for the token of {url}")
    return note("git token", f"git asks you for the token of {url}", f"hermes login {url}")
