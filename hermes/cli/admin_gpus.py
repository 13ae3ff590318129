"""`hermes admin gpu`: GPUs that the runner has put into quarantine, and their way back."""

import click

from hermes.audit import OPERATOR, write_down
from hermes.cli.act import Row, as_json, day, say, with_database
from hermes.database import Database
from hermes.quarantine import Quarantined, list_quarantined, release


@click.group()
def gpu() -> None:
    """GPUs in quarantine."""


@gpu.command("list")
@as_json
def gpu_list(as_json: bool) -> None:
    """The GPUs that are given to nobody, and why."""

    async def act(database: Database) -> list[Row]:
        async with database.read() as session:
            return [each._asdict() for each in await list_quarantined(session)]

    def line(row: Row) -> str:
        return f"{row['runner']}  {row['name']}  {row['uuid']}  since {day(row['since'])}: {row['reason']}"

    found = with_database(act)
    say(found, line, as_json)
    if not found and not as_json:
        click.echo("no GPU is in quarantine", err=True)


@gpu.command("release")
@click.argument("which", metavar="UUID|all")
def gpu_release(which: str) -> None:
    """Give a GPU away again: by its UUID (or the beginning of it), or `all`."""

    async def act(database: Database) -> list[Quarantined]:
        async with database.write() as session:
            released = await release(session, which)
            for each in released:
                words = f"it was in quarantine: {each.reason}"
                write_down(session, OPERATOR, "GPU released", f"{each.name} of {each.runner}", words)
            return released

    found = with_database(act)
    for each in found:
        click.echo(f"{each.name} of {each.runner} is given away again; it was in quarantine: {each.reason}")
    if not found:
        click.echo("no GPU is in quarantine", err=True)
