"""What was fetched from elsewhere is offered to the receiver of pushes: the words of both sides."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from hermes.cause import Sender
from hermes.pushes import RefUpdate


class Offer(NamedTuple):
    """A repository on our disk that has all objects of these updates, ours among its alternates."""

    repo_id: int
    sender: Sender
    source: Path
    updates: tuple[RefUpdate, ...]


class Taken(NamedTuple):
    """What became of it. `reasons` is empty when every ref has moved."""

    reasons: Mapping[str, str]  # by ref
    hint: str = ""
    passes: bool = False  # it may be taken later: the fault was ours, or it is a matter of time
    pushes: Mapping[str, int] = MappingProxyType({})  # by ref

    @property
    def words(self) -> str:
        """Why not."""
        return "; ".join(dict.fromkeys(self.reasons.values()))


Take = Callable[[Offer], Awaitable[Taken]]
