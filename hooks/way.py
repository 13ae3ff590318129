"""How git gets to a repository elsewhere: what a git child needs while a way there is open."""

import socket
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Opened:
    """`url`: what git is told to ask; `config` stands on its command line, so it has no secret; `end`:
    what it inherits, closed here once it has."""

    url: str
    env: Mapping[str, str] = field(repr=False)
    config: Mapping[str, str] = field(default_factory=dict)
    end: socket.socket | None = None


class Way(Protocol):
    """To one repository, as it is configured here."""

    def open(self) -> AbstractAsyncContextManager[Opened]:
        """For one git program. Raises Refused, Unavailable: also in place of what its git complained of, when
        the way knows better."""
