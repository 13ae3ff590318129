"""`hermes github`: a repository here follows one on GitHub, Gitea, Forgejo or GitLab."""

import os
import sys
import time
from typing import Any, TextIO

import click

from hermes.cli.asking import known_servers, note
from hermes.cli.git_setup import repo_name
from hermes.cli.plain import clean
from hermes.cli.remote import as_json, asks, say_json
from hermes.client import Client
from hermes.client.calls import Call, quoted
from hermes.client.instance_answers import Connected, Upstream
from hermes.errors import UserError

_KINDS = ("github", "gitea", "gitlab")
_TOKEN = "HERMES_GITHUB_TOKEN"
_NAMES = {"github": "GitHub", "gitea": "Gitea", "gitlab": "GitLab"}


@click.group()
def github() -> None:
    """Follow a repository on GitHub (or Gitea, Forgejo, GitLab): its commits run here, results go back."""


@github.command()
@click.argument("there", metavar="OWNER/REPO")
@click.option(
    "--repo", metavar="OWNER/NAME", default="", help="Of this server; default: yours, called as it is there."
)
@click.option(
    "--token-file",
    type=click.File(encoding="utf-8"),
    help=f"What the forge has made for this; `-` is stdin. Default: ${_TOKEN}, else asked for at a terminal.",
)
@click.option("--url", metavar="URL", default="", help="Of a forge of your own: https://forge.example.org.")
@click.option(
    "--kind", type=click.Choice(_KINDS), default="github", help="What is there; Forgejo is as gitea."
)
@click.option("--by-hand", is_flag=True, help="Make nothing there: say how to make it.")
@click.option(
    "--deploy-key/--no-deploy-key",
    default=None,
    help="Fetch over SSH with a key made for this repository alone, which may read it; or over HTTPS again.",
)
@click.option(
    "--ssh",
    metavar="[USER@]HOST[:PORT]",
    default="",
    help="Where it answers to SSH; default: as the forge says.",
)
@click.option(
    "--host-key",
    metavar="SHA256:…",
    default="",
    help="The host key it must show; default: the one that is known.",
)
@as_json
@asks
def connect(
    client: Client,
    there: str,
    repo: str,
    token_file: TextIO | None,
    url: str,
    kind: str,
    by_hand: bool,
    as_json: bool,
    **access: Any,
) -> None:
    """Let a repository here follow OWNER/REPO there: pushes and pull requests run, results go back.

    Sets up the webhook, keeps the token sealed on the server, says what the token may not do. With
    --deploy-key it is fetched over SSH, and a token is only for the webhook and for results. The repository
    here is made if there is none. Asked for again, all is brought up to date; without a token the one that is
    there stays."""
    ours = repo or _ours(client, there)
    wish: dict[str, Any] = {"name": there, "kind": kind, "url": url, "by_hand": by_hand, **access}
    token = _token(token_file, kind, url, by_hand)
    if token is not None:
        wish["token"] = token
    done: Connected = client.ask(Call("PUT", _path(ours), json=wish))
    if as_json:
        say_json(done)
        return
    click.echo(clean(f"{done['repo']} follows {done['url']}"))
    _say_hook(done)
    _say_key(done)
    for words in done["lacks"]:
        note(clean(f"missing: {words}"))
    click.echo(_token_words(done))
    for step in done["steps"]:
        click.echo(f"  {clean(step)}")


@github.command()
@click.argument("repo", metavar="[OWNER/NAME]", required=False, default="")
@as_json
@asks
def status(client: Client, repo: str, as_json: bool) -> None:
    """What a repository here follows, and how that goes; without a name: all that you may push to."""
    found = [_get(client, repo)] if repo else list(_all(client))
    if as_json:
        say_json(found)
    elif not found:
        note("nothing is followed yet: hermes github connect OWNER/REPO")
    for each in [] if as_json else found:
        _show(each)
    if any(each["error"] or each["report_error"] for each in found):
        sys.exit(1)


@github.command()
@click.argument("repo", metavar="OWNER/NAME")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@asks
def disconnect(client: Client, repo: str, yes: bool) -> None:
    """Follow nothing any more: the webhook there and the token here go, what has run stays."""
    was = _get(client, repo)
    if not yes and sys.stdin.isatty():
        click.confirm(clean(f"{was['repo']}: follow {was['url']} no more?"), abort=True, err=True)
    done = client.ask(Call("DELETE", _path(was["repo"])))
    words = "; ".join(each for each in (done["webhook"], done["deploy_key"]) if each)
    click.echo(clean(f"{was['repo']} follows {was['url']} no more; {words}"))


def _path(repo: str) -> str:
    if repo.count("/") != 1:
        raise UserError(f"{repo[:80]!r} is no repository of this server", "write OWNER/NAME")
    return f"/repos/{quoted(repo)}/upstream"


def _get(client: Client, repo: str) -> Upstream:
    found: Upstream = client.get(_path(repo))
    return found


def _all(client: Client) -> "list[Upstream]":
    found: list[Upstream] = client.get("/upstreams")["upstreams"]
    return found


def _ours(client: Client, there: str) -> str:
    """One's own, called as it is there."""
    login = known_servers().logins.get(client.url)
    user = login.user if login is not None else client.user()["name"]
    return f"{user}/{repo_name(there.rpartition('/')[2])}"


def _token(file: TextIO | None, kind: str, url: str, by_hand: bool) -> str | None:
    """None: the one that is there stays."""
    if file is not None:
        token = file.read().strip()
        if not token:
            raise UserError("there is no token in it", "copy what the forge has shown when it was made")
        return token
    if token := os.environ.get(_TOKEN, "").strip():
        return token
    if by_hand or not sys.stdin.isatty():
        return None
    page = f"{url or 'https://github.com'}/settings/personal-access-tokens/new" if kind == "github" else url
    click.echo(f"A token of {_NAMES[kind]} ({page}); empty: the one that is there stays", err=True)
    return click.prompt("Token", default="", hide_input=True, show_default=False, err=True).strip() or None


def _say_hook(done: Connected) -> None:
    forge = _NAMES[done["kind"]]
    if done["webhook"] == "by hand":
        click.echo(f"its webhook is to be made by hand; until then {forge} is looked at every few minutes")
    else:
        click.echo(clean(f"its webhook is {done['webhook']}: {done['hook_url']}"))


def _say_key(done: Connected) -> None:
    """Where it is fetched from, if that is not over HTTPS, and what a person has to see to."""
    if not done["ssh"]:
        return
    click.echo(clean(_access_words(done)))
    how = "is to be added by hand" if done["deploy_key"] == "by hand" else f"is {done['deploy_key']}"
    click.echo(clean(f"its deploy key {how}: {done['public_key']}"))
    words = {
        "published": "its host key is one of those that the forge publishes",
        "first seen": "its host key is kept as it is first seen; is it the one that its operator names?",
        "known": "its host key stays the one that is known",
        "confirmed": "its host key is the one that you have named",
    }
    click.echo(clean(f"{words[done['host_key']]}: {', '.join(done['host_keys'])}"))


def _access_words(each: Upstream) -> str:
    return f"fetched over SSH from {each['ssh']} with a deploy key"


def _token_words(each: Upstream) -> str:
    if not each["has_token"] and each["ssh"]:
        return "there is no token: nothing is reported back"
    if not each["has_token"]:
        return "there is no token: nothing is reported back, and only what is public can be fetched"
    return "results go back as commit statuses" if each["reports"] else "results do not go back"


def _show(each: Upstream) -> None:
    click.echo(clean(f"{each['repo']} follows {each['url']}"))
    times = (("last webhook", each["delivered_at"]), ("last look", each["polled_at"]))
    click.echo("  " + ", ".join(f"{name} {_when(at)}" for name, at in times))
    if each["ssh"]:
        click.echo(f"  {clean(_access_words(each))}")
    click.echo(f"  {_token_words(each)}")
    for words in (each["error"], each["report_error"]):
        if words:
            click.echo(f"  {clean(words)}")


def _when(at: float | None) -> str:
    return "never" if at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
