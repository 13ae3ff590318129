"""`hermes schedules`: runs that begin by themselves: listed, paused, resumed, started now."""

import time
from typing import Any

import click

from hermes.cli.asking import note, whole_name
from hermes.cli.remote import as_json, asks, say_json
from hermes.client import Client
from hermes.client.calls import Call, quoted
from hermes.units import show_span

_COLUMNS = ("REPOSITORY", "NO", "CRON", "TIME ZONE", "OVERLAP", "NEXT", "LAST RUN", "STATUS", "NOTE")
_number = click.argument("number", type=click.IntRange(1))
_repository = click.argument("repository", metavar="OWNER/NAME")


class _Schedules(click.Group):
    """`hermes schedules`, `hermes schedules alice/pi` and their options are those of `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        is_list = "/" in first or not first or (first.startswith("-") and first not in ctx.help_option_names)
        return super().parse_args(ctx, ["list", *args] if is_list else args)


@click.group(cls=_Schedules)
def schedules() -> None:
    """Runs that begin by themselves: list, pause, resume, run.

    A manifest makes them: `on.schedule`. Without a command: `list`."""


@schedules.command("list")
@click.argument("repository", metavar="[OWNER/NAME]", required=False, default="")
@as_json
@asks
def list_(client: Client, repository: str, as_json: bool) -> None:
    """Schedules of a repository, or of all that you may see."""
    found: list[Any] = []
    if repository:
        found = client.get(_path(client, repository))["schedules"]
    else:
        for page in client.pages("/schedules"):
            found += page["schedules"]
    if as_json:
        say_json(found)
    elif not found:
        note('there is no schedule: add [on] schedule = "0 3 * * *" to hermes.toml and push it')
    else:
        from hermes.cli.tables import print_table

        print_table(_COLUMNS, [_row(each) for each in found])


@schedules.command()
@_repository
@_number
@as_json
@asks
def pause(client: Client, repository: str, number: int, as_json: bool) -> None:
    """It does not run until it is resumed."""
    _say(client.ask(Call("POST", f"{_path(client, repository)}/{number}/pause")), as_json)


@schedules.command()
@_repository
@_number
@as_json
@asks
def resume(client: Client, repository: str, number: int, as_json: bool) -> None:
    """It runs from its next time on."""
    _say(client.ask(Call("POST", f"{_path(client, repository)}/{number}/resume")), as_json)


@schedules.command()
@_repository
@_number
@click.option("-q", "--quiet", is_flag=True, help="The number of the new run only.")
@as_json
@asks
def run(client: Client, repository: str, number: int, quiet: bool, as_json: bool) -> None:
    """Start a run of it now, besides its times."""
    started = client.ask(Call("POST", f"{_path(client, repository)}/{number}/run"))
    if as_json:
        say_json(started)
    else:
        click.echo(started["run"] if quiet else f"run {started['run']}  {started['url']}")


def _path(client: Client, repository: str) -> str:
    return f"/repos/{quoted(whole_name(client, repository))}/schedules"


def _say(schedule: Any, as_json: bool) -> None:
    if as_json:
        say_json(schedule)
        return
    name = f"schedule {schedule['number']} of {schedule['repo']} ({schedule['cron']})"
    click.echo(f"{name} {schedule['paused']}" if schedule["paused"] else f"{name} runs {_next(schedule)}")


def _row(each: Any) -> tuple[str, ...]:
    return (
        each["repo"],
        str(each["number"]),
        each["cron"],
        each["timezone"],
        each["overlap"],
        _next(each),
        str(each["last_run"] or ""),
        each["last_state"] or "",
        each["paused"] or each["outcome"],
    )


def _next(each: Any) -> str:
    """In the time zone of this machine, as all times here."""
    if not each["upcoming"]:
        return "-"
    at = each["upcoming"][0]
    left_s = max(at - time.time(), 0.0)
    return f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(at))} (in {show_span(left_s)})"
