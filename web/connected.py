"""What is asked for when a repository here is to follow one elsewhere, and what is known of one that does."""

from dataclasses import dataclass, field
from typing import NamedTuple

from hermes.upstreams import Place, Upstream


@dataclass(frozen=True)
class Ours:
    """A repository here, as it is named; it may not be there yet."""

    owner: str
    name: str

    @property
    def whole(self) -> str:
        """`owner/name`."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True)
class Wish:
    """What to follow. `token`: None keeps the one that is here; `by_hand`: a person makes the webhook."""

    place: Place
    token: str | None = field(default=None, repr=False)
    by_hand: bool = False


class Found(NamedTuple):
    """What is followed, and whether there is a token for it."""

    upstream: Upstream
    has_token: bool
    hook_url: str


@dataclass(frozen=True)
class Connected:
    """What came of it. `webhook`: `made`, `updated`, or `by hand`: then `steps` say how; `lacks`: what its
    token may not do, in words."""

    found: Found
    webhook: str
    lacks: tuple[str, ...]
    steps: tuple[str, ...]
    secret: str = field(default="", repr=False)  # of the webhook, where a person makes it


def found_place(upstream: Upstream) -> Place:
    """Of one that is followed."""
    return Place(upstream.kind, upstream.name, upstream.base_url, upstream.api_url)
