"""What is asked for when a repository here is to follow one elsewhere, and what is known of one that does."""

from dataclasses import dataclass, field
from typing import NamedTuple

from hermes.host_keys import fingerprints
from hermes.ssh_address import read_address
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
    """What to follow. `token`: None keeps the one that is here; `by_hand`: a person makes what is to be made
    there; `deploy_key`: fetch over SSH, None: as it was; `ssh`: where, `host_key`: the fingerprint it must
    show, "": as it is known."""

    place: Place
    token: str | None = field(default=None, repr=False)
    by_hand: bool = False
    deploy_key: bool | None = None
    ssh: str = ""
    host_key: str = ""


class Found(NamedTuple):
    """What is followed, and whether there is a token for it."""

    upstream: Upstream
    has_token: bool
    hook_url: str

    @property
    def host_keys(self) -> list[str]:
        """Fingerprints of those by which its SSH server is known, if it is fetched from there."""
        row = self.upstream
        return fingerprints(read_address(row.ssh), row.host_key) if row.ssh else []


@dataclass(frozen=True)
class Connected:
    """What came of it. `webhook`: `made`, `updated`, or `by hand`: then `steps` say how; `lacks`: what its
    token may not do, in words. `deploy_key`: `made`, `there`, `by hand`, or "" without one; `host_key`: how
    it is believed (web.ssh_access)."""

    found: Found
    webhook: str
    lacks: tuple[str, ...]
    steps: tuple[str, ...]
    secret: str = field(default="", repr=False)  # of the webhook, where a person makes it
    deploy_key: str = ""
    host_key: str = ""


class Left(NamedTuple):
    """What became of ours there when it was left, in words; `deploy_key`: "" if there was none."""

    webhook: str
    deploy_key: str

    @property
    def words(self) -> str:
        """Of both."""
        return "; ".join(each for each in self if each)
