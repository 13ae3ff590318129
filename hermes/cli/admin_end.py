"""`hermes admin end`: ends the programs that a service which has ended left running (HERMES_STOP)."""

import asyncio

import click

from hermes.boxes import sweep
from hermes.executors import choose_executor
from hermes.leases import give_back, orphans
from hermes.process import open_context
from hermes.settings import load_settings
from hermes.tables import Rank


@click.command()
def end() -> None:
    """End the programs that a stopped service has left running; their ranks are queued again."""
    ended = asyncio.run(_end())
    click.echo(f"{ended} program{'' if ended == 1 else 's'} ended; queued again for the next start", err=True)


async def _end() -> int:
    """Those of a runner that is there are not touched."""
    settings = load_settings()
    async with open_context(settings) as context:
        executor, _ = await choose_executor(settings)
        try:
            async with context.database.write() as session:
                left = await orphans(session, Rank)
                ended = sum([await give_back(session, rank) for rank in left])
            await sweep(context, executor, Rank, set)
        finally:
            await executor.close()
    return ended
