"""`hermes notify`: who is told how runs ended."""

import sys
import time
from collections.abc import Callable

import click

from hermes.cli.asking import note
from hermes.cli.plain import clean
from hermes.cli.remote import as_json, asks, say_json
from hermes.client import Client
from hermes.client.notification_answers import Notification
from hermes.errors import HermesError
from hermes.units import show_span

_KINDS = ("webhook", "mail", "slack", "mattermost", "discord", "ntfy")
_repo = click.option(
    "--repo", metavar="OWNER/NAME", default="", help="Of this repository; default: of your own runs."
)
_number = click.argument("number", type=click.IntRange(1))
_on = click.option(
    "--on",
    "events",
    type=click.Choice(["changes", "failures", "all"]),
    help="changes: broke and fixed (the default); failures; all.",
)
_branch = click.option(
    "--branch", "branches", multiple=True, help="For this branch or pattern; may be given several times."
)
Command = Callable[..., None]


class NotTaken(HermesError):
    """A test did not arrive."""


@click.group()
def notify() -> None:
    """Who is told how runs ended: list, add, test, pause, remove."""


@notify.command("list")
@_repo
@as_json
@asks
def list_(client: Client, repo: str, as_json: bool) -> None:
    """Webhooks, mail and chats that are told."""
    found = client.notifications(repo)
    if as_json:
        say_json(found)
    elif not found:
        note(f"nobody is told yet: hermes notify add webhook https://…{f' --repo {repo}' if repo else ''}")
    else:
        from hermes.cli.tables import print_table

        print_table(("NUMBER", "BY", "TO", "ON", "BRANCHES", "STATE"), [_row(each, repo) for each in found])


def _row(one: Notification, repo: str) -> tuple[str, ...]:
    branches = " ".join(one["branches"]) or ("the default" if repo else "all")
    state = "well" if one["taken_at"] else "nothing taken yet"
    if one["error"]:
        state = f"not taken: {one['error']}"
    if one["paused_at"]:
        state = f"paused: {one['paused_why']}"
    return str(one["id"]), one["kind"], one["shown"], one["events"], branches, state


@notify.command()
@click.argument("kind", type=click.Choice(_KINDS))
@click.argument("target", metavar="ADDRESS")
@_on
@_branch
@_repo
@as_json
@asks
def add(
    client: Client,
    kind: str,
    target: str,
    events: str | None,
    branches: tuple[str, ...],
    repo: str,
    as_json: bool,
) -> None:
    """Tell ADDRESS: of a webhook, of a chat's incoming webhook, or for mail; `-` reads it from stdin."""
    if target == "-":
        target = sys.stdin.readline().strip()
    of = [each for each in branches if each]
    made = client.add_notification(kind, target, repo, events=events or "changes", branches=of)
    if as_json:
        say_json(made)
        return
    where = f" --repo {repo}" if repo else ""
    click.echo(clean(f"notification {made['id']}: {made['kind']} to {made['shown']}"))
    if made["secret"]:
        click.echo(f"X-Hermes-Signature is made with this secret, shown this once: {made['secret']}")
    note(f"see whether it arrives: hermes notify test {made['id']}{where}")


@notify.command()
@_number
@_repo
@as_json
@asks
def test(client: Client, number: int, repo: str, as_json: bool) -> None:
    """Send a test message now. Exits with 1 when it was not taken."""
    tried = client.test_notification(number, repo)
    if as_json:
        say_json(tried)
    elif not tried["error"]:
        click.echo(f"taken after {show_span(tried['duration_s'])}")
    if tried["error"]:
        raise NotTaken(clean(f"it was not taken: {tried['error']}"))


@notify.command()
@_number
@_on
@_branch
@_repo
@as_json
@asks
def change(
    client: Client, number: int, events: str | None, branches: tuple[str, ...], repo: str, as_json: bool
) -> None:
    """Tell of other runs; `--branch ''` goes back to the default."""
    of = [each for each in branches if each] if branches else None
    _say(client.change_notification(number, repo, events=events, branches=of), as_json)


@notify.command()
@_number
@_repo
@as_json
@asks
def pause(client: Client, number: int, repo: str, as_json: bool) -> None:
    """Send nothing, and keep nothing for later."""
    _say(client.change_notification(number, repo, paused=True), as_json)


@notify.command()
@_number
@_repo
@as_json
@asks
def resume(client: Client, number: int, repo: str, as_json: bool) -> None:
    """Tell again, from the next run that ends."""
    _say(client.change_notification(number, repo, paused=False), as_json)


def _say(said: Notification, as_json: bool) -> None:
    if as_json:
        say_json(said)
    else:
        state = "paused" if said["paused_at"] else f"told on {said['events']}"
        click.echo(clean(f"notification {said['id']}: {said['kind']} to {said['shown']}: {state}"))


@notify.command()
@_number
@_repo
@asks
def remove(client: Client, number: int, repo: str) -> None:
    """Tell them no more; the log of what was sent goes, too."""
    client.remove_notification(number, repo)
    click.echo(f"notification {number} is removed")


@notify.command()
@_number
@_repo
@as_json
@asks
def attempts(client: Client, number: int, repo: str, as_json: bool) -> None:
    """The last tries, the newest first."""
    found = client.notification_attempts(number, repo)
    if as_json:
        say_json(found)
        return
    from hermes.cli.tables import print_table

    rows = [
        (
            str(each["id"]),
            f"run {each['run']} {each['event']}" if each["run"] else each["event"],
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each["at"])),
            show_span(each["duration_s"]),
            f"not taken: {each['error']}" if each["error"] else "taken",
        )
        for each in found
    ]
    print_table(("NUMBER", "WHAT", "WHEN", "TOOK", "ANSWER"), rows)


@notify.command()
@_number
@click.argument("attempt", type=click.IntRange(1))
@_repo
@asks
def again(client: Client, number: int, attempt: int, repo: str) -> None:
    """Send once more what ATTEMPT has told; `hermes notify attempts NUMBER` lists them."""
    client.notify_again(number, attempt, repo)
    click.echo(f"on its way; hermes notify attempts {number} says what came of it")
