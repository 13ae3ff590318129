"""A rank whose image is not there any more (hermes.retention): it is built again, and the rank waits."""

from hermes.errors import Fenced
from hermes.process import Context
from hermes.queue import BUILDS, CHANGED
from hermes.states import Event, State
from hermes.supervisor import Job
from hermes.tables import Build, Rank
from hermes.transitions import move, rebuild


async def build_again(context: Context, job: Job[Rank], build: Build) -> None:
    """Nobody's fault, and no attempt of the program. Raises Fenced."""
    async with context.database.write() as session:
        row = await session.get_one(Rank, job.row.id)
        if not job.owns(row):
            raise Fenced
        fresh = await session.get_one(Build, build.id)
        if fresh.state is State.BUILT:
            await rebuild(session, fresh)
        words = f"the image of build {build.id} is not there any more: it is built again"
        if not await move(session, row, Event.REQUEUE, words, faults=row.faults):
            raise Fenced
    await context.doorbell.ring(BUILDS, CHANGED)
