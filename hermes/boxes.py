"""Names of boxes, and the sweep that removes those nobody works in: nothing is left behind."""

import asyncio
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select

from hermes.errors import Unavailable
from hermes.executors import instance_label
from hermes.executors.base import Executor
from hermes.executors.warm import WARM
from hermes.journal import log
from hermes.leases import expire_dead
from hermes.process import Context
from hermes.queue import CHANGED
from hermes.states import LIVE, TERMINAL
from hermes.tables import Build, Rank, Run
from hermes.threads import in_thread

_NAME = re.compile(r"hermes-[0-9a-f]+-(build|rank)-(\d+)\.(\d+)")  # spooled files have more behind it
_WAITING = re.compile(rf"hermes-[0-9a-f]+-{WARM}-[0-9a-f]+")  # for a rank, and for nobody that is known here
_SWEEP_S = 60.0
Held = Callable[[], set[tuple[int, int]]]  # what this process is at: {(row id, attempt)}
_MOST_CHECKPOINTS = 500  # that one sweep looks at


def box_name(context: Context, row: Build | Rank) -> str:
    """One idempotent name for one attempt."""
    return f"hermes-{instance_label(context.settings)}-{row.__tablename__}-{row.id}.{row.attempt}"


async def sweep_once(
    context: Context, executor: Executor, table: type[Build] | type[Rank], held: Held
) -> None:
    """End the leases of dead processes of this machine and remove boxes without a lease; never raises."""
    try:
        async with context.database.write() as session:
            ended = await expire_dead(session, table)
        if ended:
            await context.doorbell.ring(table.__tablename__, CHANGED)
        await sweep(context, executor, table, held)
    except Unavailable as error:
        log.warning("sweep failed", error=str(error))


async def keep_sweeping(
    context: Context, executor: Executor, table: type[Build] | type[Rank], held: Held
) -> None:
    """Sweep once a minute."""
    while True:
        await asyncio.sleep(_SWEEP_S)
        await sweep_once(context, executor, table, held)


async def sweep(context: Context, executor: Executor, table: type[Build] | type[Rank], held: Held) -> int:
    """Remove the boxes and temporary files of builds (or ranks) whose attempt is over; returns how many. Not
    of those that this process still is at: it may have slept through its lease, and would begin a program
    whose files are gone."""
    if table is Rank:
        await sweep_checkpoints(context)
    there = await executor.boxes()
    boxes = _of_kind(there, table)
    files = _of_kind([path.name for path in context.paths.spool.glob("hermes-*")], table)
    if not there and not files:
        return 0
    live = select(table.id, table.attempt).where(table.state.in_(LIVE))
    async with context.database.read() as session:
        alive = {(row_id, attempt) for row_id, attempt in (await session.execute(live)).all()}
    alive |= held()
    gone = [name for name, owner in boxes.items() if owner not in alive]
    gone += [name for name in there if table is Rank and _WAITING.fullmatch(name)]
    for name in gone:
        if boxes.get(name) in held() or name not in await executor.boxes():
            continue  # somebody of ours has made another one of that name meanwhile
        log.info("box swept", box=name)
        await executor.remove(name)
    stale = [name for name, owner in files.items() if owner not in alive]
    for name in stale:
        (context.paths.spool / name).unlink(missing_ok=True)
    return len(gone) + len(stale)


async def sweep_checkpoints(context: Context) -> int:
    """Remove what is kept between the attempts of runs that are over; returns of how many."""
    kept = [int(path.name) for path in context.paths.checkpoints.glob("[0-9]*")][:_MOST_CHECKPOINTS]
    if not kept:
        return 0
    async with context.database.read() as session:
        over = (await session.scalars(select(Run.id).where(Run.id.in_(kept), Run.state.in_(TERMINAL)))).all()
    for run_id in over:
        await in_thread(shutil.rmtree, context.paths.checkpoints / str(run_id), ignore_errors=True)
    return len(over)


def forget_checkpoint(checkpoint: Path, *, is_only: bool) -> None:
    """Of a rank that is over: a disk image, or (local executor) a folder. The folder that several ranks share
    is the sweep's."""
    if checkpoint.is_dir():
        shutil.rmtree(checkpoint, ignore_errors=True)
    else:
        checkpoint.unlink(missing_ok=True)
    if is_only:
        with suppress(OSError):
            checkpoint.parent.rmdir()


def _of_kind(names: Iterable[str], table: type[Build] | type[Rank]) -> dict[str, tuple[int, int]]:
    """{name: (row id, attempt)} of what belongs to builds (or to ranks)."""
    found = {name: _NAME.match(name) for name in names}
    kind = table.__tablename__
    return {name: (int(m[2]), int(m[3])) for name, m in found.items() if m and m[1] == kind}
