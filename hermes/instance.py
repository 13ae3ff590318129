"""What this instance has, as its runner last described it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.database import Database
from hermes.gpu import Gpu
from hermes.images import ImageTable
from hermes.plan import Instance
from hermes.pools import PoolTable
from hermes.settings import Settings
from hermes.tables import Runner

UNFENCED = "local"  # the executor without an engine
_GOOD_FOR_S = 1.0
FRESH_S = 60.0  # a runner describes itself every 15 s
_ALIVE = select(Runner).where(Runner.seen_at > bindparam("since")).order_by(Runner.name)


async def runners(session: AsyncSession) -> list[Runner]:
    """The runners that showed a sign of life lately."""
    return list((await session.scalars(_ALIVE, {"since": time.time() - FRESH_S})).all())


def are_unfenced(alive: Sequence[Runner]) -> bool:
    """Whether whatever is pushed now would run without an engine."""
    return bool(alive) and all(runner.executor == UNFENCED for runner in alive)


async def gpu_names(session: AsyncSession) -> dict[str, str]:
    """{UUID: `GPU 0 (H200)`}, of all machines ever seen: old runs name theirs too."""
    rows = (await session.scalars(select(Runner))).all()
    return {gpu["uuid"]: Gpu(**gpu).name for row in rows for gpu in row.gpus}


async def look_at_instance(
    session: AsyncSession, settings: Settings, images: ImageTable, pools: PoolTable
) -> Instance:
    """For the policy of a push. No runner alive: what it has is unknown, and pushes wait for it."""
    alive = await runners(session)
    return Instance(
        images=images,
        max_timeout_s=settings.max_timeout,
        gpus=tuple(Gpu(**gpu) for runner in alive for gpu in runner.gpus) if alive else None,
        cpus=max((runner.cpus for runner in alive), default=0),
        memory_bytes=max((runner.memory_bytes for runner in alive), default=0),
        waits_for_gpu=settings.without_gpu == "wait",
        network=settings.network != "none",
        packages=settings.packages,
        dockerfiles=settings.dockerfiles == "on",
        pools=pools,
        is_unfenced=are_unfenced(alive),
    )


@dataclass
class Outlook:
    """`look_at_instance` for who asks often: a runner's word is good for a second."""

    database: Database
    settings: Settings
    images: ImageTable
    pools: PoolTable
    _seen: Instance | None = None
    _until: float = 0.0

    async def here(self) -> Instance:
        """What this instance has."""
        if self._seen is None or time.monotonic() > self._until:
            async with self.database.read() as session:
                self._seen = await look_at_instance(session, self.settings, self.images, self.pools)
            if self._seen.gpus is not None:  # nobody alive yet: somebody may be at any moment
                self._until = time.monotonic() + _GOOD_FOR_S
        return self._seen
