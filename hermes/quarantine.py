"""GPUs in quarantine: given to nobody until an operator releases them. Their runner puts them there."""

import time
from typing import NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.errors import NotFound
from hermes.gpu import Gpu
from hermes.journal import log
from hermes.tables import Runner

_AWAY = select(Runner.quarantine).where(Runner.name == bindparam("runner"))


class Quarantined(NamedTuple):
    """One GPU; `name` is what people call it, `since` Unix seconds."""

    runner: str
    uuid: str
    name: str
    reason: str
    since: float


async def put_away(session: AsyncSession, runner: str, uuid: str, reason: str) -> bool:
    """Give this GPU to nobody any more; the first reason stays. False: it was there already."""
    row = await session.get(Runner, runner, with_for_update=True)
    if row is None or uuid in row.quarantine:
        return False
    row.quarantine = {**row.quarantine, uuid: {"reason": reason, "since": time.time()}}
    log.error("GPU in quarantine", runner=runner, gpu=uuid, reason=reason)
    return True


async def away(session: AsyncSession, runner: str) -> frozenset[str]:
    """The UUIDs that this runner may not give away."""
    return frozenset(await session.scalar(_AWAY, {"runner": runner}) or ())


async def list_quarantined(session: AsyncSession) -> list[Quarantined]:
    """All of them, by machine; also those that their driver does not list any more."""
    rows = (await session.scalars(select(Runner).order_by(Runner.name))).all()
    return [
        Quarantined(row.name, uuid, _name(row, uuid), each["reason"], each["since"])
        for row in rows
        for uuid, each in row.quarantine.items()
    ]


async def release(session: AsyncSession, which: str) -> list[Quarantined]:
    """Give it away again; `which` is a UUID, the beginning of one, or `all`. Raises NotFound."""
    found = [each for each in await list_quarantined(session) if which in ("all", each.uuid[: len(which)])]
    if not found and which != "all":
        raise NotFound(f"no GPU in quarantine is called {which[:80]!r}", "hermes admin gpu list")
    for each in found:
        row = await session.get_one(Runner, each.runner, with_for_update=True)
        row.quarantine = {uuid: why for uuid, why in row.quarantine.items() if uuid != each.uuid}
        log.info("GPU released", runner=each.runner, gpu=each.uuid)
    return found


def _name(row: Runner, uuid: str) -> str:
    names = {gpu["uuid"]: Gpu(**gpu).name for gpu in row.gpus}
    return names.get(uuid, "a GPU that the driver does not list")
