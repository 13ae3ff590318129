"""The disk, as `/admin` shows it: its size, who takes what, when room is made, and what went last."""

import time
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from hermes.audit import Audit
from hermes.retention import Levels, last_sweep, look_at_room
from web.site import Site

#: What lies in each folder of web.disk_use.
_WORDS = {
    "artifacts": "artifacts",
    "images": "built images",
    "logs": "logs of runs and builds",
    "repos": "repositories",
    "ccache": "compiler caches",
    "inputs": "input of invocations, uploads",
    "results": "results of invocations",
    "checkpoints": "checkpoints of runs",
    "spool": "what builds are working on",
}


@dataclass(frozen=True)
class DiskView:
    """`parts` are words and bytes, the largest first; none: the first look at them has not ended."""

    room: Levels
    parts: list[tuple[str, int]]
    measured_at: float | None
    swept: Audit | None

    @property
    def used(self) -> int:
        """Bytes, also of others on this disk."""
        return self.room.size - self.room.free

    @property
    def rest(self) -> int:
        """What is none of these: the database, the engine's own images, other programs."""
        return max(self.used - sum(size for _, size in self.parts), 0)


async def look_at_disk(site: Site, session: AsyncSession) -> DiskView:
    """Nothing is walked here: that is done now and then, while nobody waits."""
    use = site.exporter.disk_use
    use.ask()
    parts = sorted(((_WORDS[name], size) for name, size in use.bytes_of.items()), key=lambda part: -part[1])
    age_s = use.age_s
    measured_at = None if age_s is None else time.time() - age_s
    return DiskView(look_at_room(site.context), parts, measured_at, await last_sweep(session))
