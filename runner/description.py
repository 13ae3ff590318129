"""What a runner tells the others of its machine, at which they cannot look: what there is, how it is used."""

import asyncio
import socket
import time
from dataclasses import asdict, dataclass
from typing import Any

from hermes.errors import Unavailable
from hermes.journal import log
from hermes.process import Context
from hermes.tables import Runner
from hermes.waiting import Bounds
from runner.gpus import Gpus, ask_driver
from runner.slots import Capacity

_EVERY_S, _EVERY_WITH_GPUS_S = 15.0, 5.0


@dataclass(frozen=True)
class Description:
    """The row of one runner; that it is fresh is its sign of life."""

    context: Context
    executor: str
    capacity: Capacity
    gpus: Gpus

    async def write(self) -> None:
        """As things are now. Raises Unavailable."""
        uses, settings = await self._uses(), self.context.settings
        async with self.context.database.write() as session:
            name = socket.gethostname()
            row = await session.get(Runner, name) or Runner(name=name)
            row.executor, row.seen_at = self.executor, time.time()
            row.cpus, row.memory_bytes = self.capacity.cpus, self.capacity.memory_bytes
            row.gpus = [asdict(gpu) for gpu in self.capacity.gpus]
            row.bounds = asdict(Bounds(settings.ranks, settings.user_ranks, settings.user_gpu_time))
            row.uses = uses
            session.add(row)

    async def keep(self) -> None:
        """For ever; pages that show GPUs look often."""
        while True:
            await asyncio.sleep(_EVERY_WITH_GPUS_S if self.capacity.gpus else _EVERY_S)
            try:
                await self.write()
            except Unavailable as error:
                log.warning("runner row not written", error=str(error))

    async def _uses(self) -> dict[str, Any]:
        uuids = [gpu.uuid for gpu in self.capacity.gpus]
        if not uuids:
            return {}
        return {use.uuid: use.as_json() for use in await ask_driver([], self.gpus.sample, uuids)}
