"""What all pushes share, over HTTP and SSH."""

import time
from dataclasses import dataclass, field

from gitserver.child import Git
from hermes.images import ImageTable
from hermes.instance import look_at_instance
from hermes.plan import Instance
from hermes.pools import PoolTable
from hermes.process import Context
from hermes.throttle import Throttle

_GOOD_FOR_S = 1.0


@dataclass(frozen=True)
class Door:
    """One for a whole service."""

    context: Context
    images: ImageTable
    pools: PoolTable
    git: Git
    rate: Throttle
    _seen: dict[str, tuple[float, Instance]] = field(default_factory=dict)

    async def here(self) -> Instance:
        """What this instance has; a runner's word is good for a second."""
        until, instance = self._seen.get("", (0.0, None))
        if instance is None or time.monotonic() > until:
            async with self.context.database.read() as session:
                instance = await look_at_instance(session, self.context.settings, self.images, self.pools)
            if instance.gpus is not None:  # nobody alive yet: somebody may be at any moment
                self._seen[""] = time.monotonic() + _GOOD_FOR_S, instance
        return instance
