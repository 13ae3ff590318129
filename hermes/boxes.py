"""Names of boxes, and the sweep that removes those nobody works in: nothing is left behind."""

import asyncio
import re

from sqlalchemy import select

from hermes.errors import Unavailable
from hermes.executors import instance_label
from hermes.executors.base import Executor
from hermes.journal import log
from hermes.leases import expire_dead
from hermes.process import Context
from hermes.queue import CHANGED
from hermes.states import LIVE
from hermes.tables import Build, Rank

_NAME = re.compile(r"hermes-[0-9a-f]+-(build|rank)-(\d+)\.(\d+)")
_SWEEP_S = 60.0


def box_name(context: Context, row: Build | Rank) -> str:
    """One idempotent name for one attempt."""
    return f"hermes-{instance_label(context.settings)}-{row.__tablename__}-{row.id}.{row.attempt}"


async def keep_sweeping(context: Context, executor: Executor, table: type[Build] | type[Rank]) -> None:
    """Sweep once a minute."""
    while True:
        await asyncio.sleep(_SWEEP_S)
        await sweep_once(context, executor, table)


async def sweep_once(context: Context, executor: Executor, table: type[Build] | type[Rank]) -> None:
    """End the leases of dead processes of this machine and remove boxes without a lease; never raises."""
    try:
        async with context.database.write() as session:
            ended = await expire_dead(session)
        if ended:
            await context.doorbell.ring(table.__tablename__, CHANGED)
        await sweep(context, executor, table)
    except Unavailable as error:
        log.warning("sweep failed", error=str(error))


async def sweep(context: Context, executor: Executor, table: type[Build] | type[Rank]) -> int:
    """Remove the boxes of builds (or ranks) whose attempt is over; returns how many."""
    found = {name: _NAME.fullmatch(name) for name in await executor.boxes()}
    names = {name: match for name, match in found.items() if match and match[1] == table.__tablename__}
    if not names:
        return 0
    async with context.database.read() as session:
        live = set(
            (
                await session.execute(
                    select(table.id, table.attempt).where(
                        table.state.in_(LIVE), table.lease_until.is_not(None)
                    )
                )
            ).all()
        )
    gone = [name for name, match in names.items() if (int(match[2]), int(match[3])) not in live]
    for name in gone:
        log.info("box swept", box=name)
        await executor.remove(name)
    return len(gone)
