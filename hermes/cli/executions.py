"""`hermes executions`: what ran and runs: listed, looked at, ended, run once more."""

import click

from hermes.cli.artifacts import artifacts
from hermes.cli.asking import note
from hermes.cli.executions_table import inspection, listed
from hermes.cli.follow import print_result
from hermes.cli.logs import logs
from hermes.cli.number import RUN
from hermes.cli.plain import clean
from hermes.cli.remote import as_json, asks, say_json
from hermes.client import Client
from hermes.client.answers import Run

_STATES = ["queued", "starting", "running", "succeeded", "failed", "timed_out", "cancelled", "lost"]


@click.group()
def executions() -> None:
    """What ran and what runs: list, inspect, logs, result, artifacts, cancel, keep, unkeep, retry."""


@executions.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Only in this state.")
@click.option("--function", metavar="NAME", help="Only of OWNER/NAME or OWNER/NAME:VERSION.")
@click.option("--since", metavar="TIME", help="Begun since: 2h, 3d, 2026-11-21, Unix seconds.")
@click.option("--until", metavar="TIME", help="Begun before.")
@click.option("--trigger", metavar="WORD", help="Only started so: push, api, retry, webhook, ….")
@click.option("--user", metavar="NAME", help="Only of this user.")
@click.option("--commit", metavar="SHA", help="Only of commits that begin so.")
@click.option(
    "-n",
    "--limit",
    "most",
    type=click.IntRange(1, 100_000),
    default=30,
    metavar="N",
    help="At most; default 30.",
)
@click.option("-q", "--quiet", is_flag=True, help="Numbers only.")
@as_json
@asks
def list_(client: Client, most: int, quiet: bool, as_json: bool, **filters: str | None) -> None:
    """Runs that you may see, the newest first."""
    runs = list(client.runs(most, **{name: value for name, value in filters.items() if value}))
    if as_json:
        say_json(runs)
    elif quiet:
        for run in runs:
            click.echo(run["id"])
    elif not runs:
        note("no run is like that" if any(filters.values()) else "nothing has run yet: git push gpu main")
    else:
        listed(runs, client)


@executions.command()
@click.argument("run", type=RUN)
@click.option("-r", "--result", is_flag=True, help="Only what it wrote to stdout.")
@as_json
@asks
def inspect(client: Client, run: int, result: bool, as_json: bool) -> None:
    """All about one run: times, verdict, what it used, its attempts."""
    if result:
        print_result(client, client.run(run))
        return
    record = client.run(run)
    build = client.build(record["build"])
    if as_json:
        say_json({**record, "build_record": build})
    else:
        click.echo(inspection(record, build))


@executions.command()
@click.argument("run", type=RUN)
@click.option("--rank", type=click.IntRange(0), help="Only of this rank; default: all, one after another.")
@asks
def result(client: Client, run: int, rank: int | None) -> None:
    """What a run wrote to stdout, byte for byte."""
    print_result(client, client.run(run), rank)


@executions.command()
@click.argument("runs", type=RUN, nargs=-1, required=True)
@as_json
@asks
def cancel(client: Client, runs: tuple[int, ...], as_json: bool) -> None:
    """Ask for the end of runs. What is over stays as it is."""
    records = [client.cancel(run) for run in runs]
    if as_json:
        say_json(records)
        return
    for record in records:
        words = "will be cancelled" if record["ended_at"] is None else record["words"]
        click.echo(f"run {record['id']} {words}")


@executions.command()
@click.argument("runs", type=RUN, nargs=-1, required=True)
@as_json
@asks
def keep(client: Client, runs: tuple[int, ...], as_json: bool) -> None:
    """Never remove what runs left: logs, artifacts, input, results; however old it gets, and however full the
    disk."""
    _say_kept([client.keep(run) for run in runs], as_json)


@executions.command()
@click.argument("runs", type=RUN, nargs=-1, required=True)
@as_json
@asks
def unkeep(client: Client, runs: tuple[int, ...], as_json: bool) -> None:
    """Keep runs no longer: what is old goes, as of others."""
    _say_kept([client.unkeep(run) for run in runs], as_json)


def _say_kept(records: list[Run], as_json: bool) -> None:
    if as_json:
        say_json(records)
        return
    for record in records:
        by = f"is kept, by {record['kept_by']}" if record["kept_at"] else "is not kept"
        click.echo(clean(f"run {record['id']} {by}"))


@executions.command()
@click.argument("run", type=RUN)
@click.option("-q", "--quiet", is_flag=True, help="The number of the new run only.")
@as_json
@asks
def retry(client: Client, run: int, quiet: bool, as_json: bool) -> None:
    """Run it once more: the same build, the same values."""
    record = client.again(run)
    if as_json:
        say_json(record)
    else:
        click.echo(record["id"] if quiet else f"run {record['id']}  {record['url']}")


executions.add_command(logs)
executions.add_command(artifacts)
