"""What all pushes share, over HTTP and SSH."""

from dataclasses import dataclass
from functools import cached_property

from gitserver.child import Git
from hermes.images import ImageTable
from hermes.instance import Outlook
from hermes.pools import PoolTable
from hermes.process import Context
from hermes.throttle import Throttle


@dataclass(frozen=True)
class Door:
    """One for a whole service."""

    context: Context
    images: ImageTable
    pools: PoolTable
    git: Git
    rate: Throttle

    @cached_property
    def outlook(self) -> Outlook:
        """What this instance has, for policies."""
        return Outlook(self.context.database, self.context.settings, self.images, self.pools)
