"""Whether a GPU is fit for the next run: looked at before and after each, and what its driver reports.

A GPU is fit when it answers, nobody computes on it, its memory is at its floor (what it held when nobody
used it), neither its count of memory errors has grown nor the driver has reported an Xid that is not a
program's own doing, and it is set as it was before the run. A process that is still there is waited for;
everything else is quarantine, until an operator has looked (hermes.quarantine)."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from hermes import quarantine
from hermes.errors import Unavailable
from hermes.journal import log
from hermes.process import Context
from hermes.queue import CHANGED
from hermes.units import show_size
from runner.gpus import GpuHealth, Gpus, ask_driver
from runner.modes import Modes, changes
from runner.slots import GpuMemory

#: What a program can bring about by itself (docs.nvidia.com/deploy/xid-errors): a wrong access, a wrong
#: instruction, a fault of its memory, its own end, its video work, its time on the GPU used up.
PROGRAMS_OWN_XIDS = frozenset((13, 31, 43, 45, 68, 109))
_SLACK_BYTES = 64 << 20  # the driver's own memory moves a little
_LOOK_EVERY_S, _ASK_FOR_XIDS_EVERY_S = 0.2, 1.0


class Hygiene:
    """Of one runner's GPUs."""

    def __init__(self, context: Context, gpus: Gpus) -> None:
        self._context, self._gpus = context, gpus
        self._runner = socket.gethostname()
        self._floors: dict[str, int] = {}  # bytes
        self._ecc_errors: dict[str, int] = {}
        self._xids: dict[str, list[int]] = {}
        self._modes: dict[str, Modes] = {}  # before the runs that have them now
        self._away: frozenset[str] = frozenset()
        self._holders: Counter[str] = Counter()

    async def learn(self, uuids: Sequence[str]) -> None:
        """The floor of each GPU on which nobody computes now."""
        for uuid in uuids:
            health = await self._ask(uuid)
            if health is not None and not health.processes:
                self._learn(uuid, health)

    def _learn(self, uuid: str, health: GpuHealth) -> None:
        self._floors[uuid] = min(health.memory_bytes, self._floors.get(uuid, health.memory_bytes))
        if health.ecc_errors is not None:
            self._ecc_errors.setdefault(uuid, health.ecc_errors)

    async def look(
        self, session: AsyncSession, uuids: Sequence[str], shared: Collection[str]
    ) -> tuple[frozenset[str], dict[str, GpuMemory]]:
        """Of these GPUs: those that are not given away now, since they are in quarantine, silent, or in
        somebody's use; and the memory of the others. On those that are `shared` now somebody may compute."""
        away = await quarantine.away(session, self._runner)
        await self._learn_anew(self._away - away)
        self._away = away
        unfit, memory = set(away), {}
        for uuid in uuids:
            if uuid not in away:
                health = await self._ask(uuid)
                if health and not health.processes and uuid not in self._floors:
                    self._learn(uuid, health)  # when we began, an adopted program was on it
                is_dirty = self._unfit_for(uuid, health) or (health and health.processes)
                if health is None or (is_dirty and uuid not in shared):
                    unfit.add(uuid)
                else:
                    memory[uuid] = GpuMemory(health.memory_bytes, self._floors.get(uuid, 0))
        return frozenset(unfit), memory

    async def _learn_anew(self, released: frozenset[str]) -> None:
        """An operator has looked: what is so now is as it should be."""
        for uuid in released:
            self._floors.pop(uuid, None)
            self._ecc_errors.pop(uuid, None)
        await self.learn(sorted(released))

    async def begin(self, uuids: Sequence[str]) -> None:
        """A run gets these: what was reported, or set, before anybody had them is not its doing."""
        fresh = [uuid for uuid in uuids if not self._holders[uuid]]
        self._holders.update(uuids)
        for uuid in fresh:
            self._xids.pop(uuid, None)
            self._modes[uuid] = await ask_driver({}, self._gpus.modes, uuid)

    async def xids(self, uuids: Sequence[str]) -> dict[str, list[int]]:
        """What the driver has reported of these since `begin`."""
        await self._hear()
        return {uuid: list(self._xids[uuid]) for uuid in uuids if uuid in self._xids}

    async def end(self, uuids: Sequence[str]) -> None:
        """A run is over: wait until those of its GPUs that nobody else has are fit again, or put them away.
        Never raises."""
        self._holders.subtract(uuids)
        try:
            for uuid in [uuid for uuid in uuids if not self._holders[uuid]]:
                if reason := await self._wait_until_fit(uuid):
                    await self._put_away(uuid, reason)
        except Unavailable as error:
            log.error("the state of GPUs could not be written", gpus=list(uuids), error=str(error))

    async def _wait_until_fit(self, uuid: str) -> str:
        """Why it is not fit; "" when it is, or when only a process keeps it."""
        until = time.monotonic() + self._context.settings.gpu_settle
        while True:
            health = await self._ask(uuid)
            reason = self._unfit_for(uuid, health) or await self._set_otherwise(uuid)
            if not reason and not (health and health.processes):
                return ""
            if time.monotonic() > until or health is None:
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        if health is not None and health.processes:
            log.warning("a process stays on a GPU", gpu=uuid, pids=health.processes)
            return ""  # it is not given away while the process is there
        return reason

    def _unfit_for(self, uuid: str, health: GpuHealth | None) -> str:
        if health is None:
            return "it does not answer any more"
        if health.ecc_errors is not None and health.ecc_errors > self._ecc_errors.get(
            uuid, health.ecc_errors
        ):
            return f"its memory had uncorrected errors ({health.ecc_errors} since the driver was loaded)"
        floor = self._floors.get(uuid, health.memory_bytes)
        if health.memory_bytes > floor + _SLACK_BYTES and not health.draws:
            over = show_size(health.memory_bytes - floor)
            return f"{over} of its memory stayed in use after a run, and no process holds it"
        return ""

    async def _set_otherwise(self, uuid: str) -> str:
        now = await ask_driver({}, self._gpus.modes, uuid)
        words = changes(self._modes.get(uuid, {}), now)
        return words and f"its settings were changed during a run: {words}"

    async def keep_listening(self) -> None:
        """For Xids, always: also those of a GPU that nobody uses."""
        while True:
            await asyncio.sleep(_ASK_FOR_XIDS_EVERY_S)
            try:
                await self._hear()
            except Unavailable as error:
                log.warning("Xids could not be written", error=str(error))

    async def _hear(self) -> None:
        for uuid, xid in await ask_driver([], self._gpus.xids):
            log.warning("Xid", gpu=uuid, xid=xid)
            self._xids.setdefault(uuid, []).append(xid)
            if xid not in PROGRAMS_OWN_XIDS:
                await self._put_away(uuid, f"the driver reported Xid {xid}")

    async def _put_away(self, uuid: str, reason: str) -> None:
        async with self._context.database.write() as session:
            fresh = await quarantine.put_away(session, self._runner, uuid, reason)
        if fresh:
            await self._context.doorbell.ring(CHANGED)

    async def _ask(self, uuid: str) -> GpuHealth | None:
        return await ask_driver(None, self._gpus.health, uuid)
