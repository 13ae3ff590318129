"""Signs of life of the builder and the runner: a row each, every 15 s, also when nothing is to be done.

It says whether their executor answers, at which nobody else can look."""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hermes.errors import HermesError, Unavailable
from hermes.executors.base import Executor
from hermes.journal import log
from hermes.process import Context
from hermes.watched import Process

_EVERY_S = 15.0
_PATIENCE_S = 10.0  # with an executor that does not answer


@dataclass
class Signs:
    """Of one process; `missed_rings` tells how much it found by looking that nobody had rung for."""

    context: Context
    executor: Executor
    kind: str
    missed_rings: Callable[[], int]

    async def keep(self) -> None:
        """For ever."""
        while True:
            try:
                await self.write(await self._trouble())
            except Unavailable as error:
                log.warning("sign of life not written", error=str(error))
            await asyncio.sleep(_EVERY_S)

    async def write(self, trouble: str) -> None:
        """As things are now. Raises Unavailable."""
        async with self.context.database.write() as session:
            key = {"kind": self.kind, "host": socket.gethostname()}
            row = await session.get(Process, key) or Process(**key)
            row.executor, row.trouble, row.seen_at = self.executor.name, trouble, time.time()
            row.missed_rings, row.memory_bytes = self.missed_rings(), _memory_bytes()
            session.add(row)

    async def _trouble(self) -> str:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self.executor.check()
        except TimeoutError:
            return f"no answer within {_PATIENCE_S:g} s"
        except (HermesError, OSError) as error:
            return str(error)
        return ""


def _memory_bytes() -> int:
    """Resident, of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
