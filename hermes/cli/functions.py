"""`hermes functions`: what one may invoke on the server."""

import sys
import time

import click

from hermes.cli.asking import note, whole_name
from hermes.cli.plain import clean
from hermes.cli.remote import as_json, asks, say_json
from hermes.client import Client
from hermes.client.answers import FunctionVersion


@click.group()
def functions() -> None:
    """What can be invoked: list, show, delete."""


@functions.command("list")
@click.option("--owner", metavar="NAME", default="", help="Only of this user.")
@click.option("-q", "--quiet", is_flag=True, help="Names only.")
@as_json
@asks
def list_(client: Client, owner: str, quiet: bool, as_json: bool) -> None:
    """Functions that you may see, each with its newest version."""
    found = list(client.functions(owner))
    if as_json:
        say_json(found)
    elif quiet:
        for each in found:
            click.echo(each["name"])
    elif not found:
        note("there is no function yet: git push gpu main")
    else:
        rows = [(each["name"], str(each["versions"]), *_row(each["newest"], each["runs"])) for each in found]
        _print(("FUNCTION", "VERSIONS"), rows)


@functions.command()
@click.argument("function", metavar="OWNER/NAME")
@as_json
@asks
def show(client: Client, function: str, as_json: bool) -> None:
    """A function and its versions, the newest first."""
    found = client.versions(whole_name(client, function))
    if as_json:
        say_json(found)
        return
    rights = "" if found["may_invoke"] else ", and you may not run it"
    click.echo(
        clean(f"{found['name']}  {'public' if found['public'] else 'private'}{rights}  {found['url']}")
    )
    _print(("ADDRESS",), [(each["address"], *_row(each, each["runs"])) for each in found["versions"]])


@functions.command()
@click.argument("function", metavar="OWNER/NAME[:VERSION]")
@click.argument("version", required=False, default="")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@asks
def delete(client: Client, function: str, version: str, yes: bool) -> None:
    """Delete a version of a function, or all. What they have run stays listed."""
    name = whole_name(client, f"{function}:{version}" if version else function)
    if not yes and sys.stdin.isatty():
        click.confirm(
            f"Delete {name}{'' if ':' in name else ' with all its versions'}?", abort=True, err=True
        )
    client.delete_function(name)
    click.echo(f"{name} deleted; its runs stay: hermes executions list --function {name}")


def _print(first: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from hermes.cli.tables import print_table

    print_table((*first, "LANGUAGE", "GPU", "STATE", "COMMIT", "BUILT", "RUNS", "LAST RUN"), rows)


def _row(version: FunctionVersion, runs: int) -> tuple[str, ...]:
    last = version["last_run"]
    return (
        version["language"],
        str(version["gpu"]["count"] or "-"),
        version["state"],
        version["commit"][:7],
        time.strftime("%Y-%m-%d %H:%M", time.localtime(version["created_at"])),
        str(runs),
        "" if last is None else last["state"],
    )
