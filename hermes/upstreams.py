"""A repository elsewhere (GitHub, Gitea, Forgejo, GitLab) that one of ours follows: at most one for each.

Its commits come by webhook or are found by polling, and are fetched from `url` alone, or with a deploy key
from the same repository at `ssh`, whatever a message says. The webhook's secret, the token and the deploy key
are kept in hermes.sealed."""

import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import ForeignKey, delete
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from hermes import arrivals
from hermes.columns import Base
from hermes.errors import UserError
from hermes.sealed import Sealed, forget, seal, unseal

#: What can be sealed for each; the name is `upstream <repo id> <what>`.
HOOK_SECRET, TOKEN, DEPLOY_KEY = SEALED = ("hook secret", "token", "deploy key")
LEAST_SECRET_BYTES = 32
#: Kinds of forges (Forgejo is as Gitea): where the usual one is, and its API below a base of one's own.
KINDS = {
    "github": ("https://github.com", "/api/v3"),
    "gitea": ("", "/api/v1"),
    "gitlab": ("https://gitlab.com", "/api/v4"),
}
_PUBLIC_API = {"https://github.com": "https://api.github.com"}
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_MOST_PARTS = {"gitlab": 20}  # groups within groups


class Upstream(Base):
    """Where a repository of ours gets its commits from, besides pushes."""

    __tablename__ = "upstream"
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))  # who connected it: its pushes are theirs
    kind: Mapped[str]  # of KINDS
    base_url: Mapped[str]  # https://github.com, or a forge's own
    api_url: Mapped[str]  # https://api.github.com, https://forge.example.org/api/v3
    name: Mapped[str]  # OWNER/NAME there
    reports: Mapped[bool] = mapped_column(default=True)  # results go back as commit statuses
    created_at: Mapped[float]
    delivered_at: Mapped[float | None]  # the last webhook that was right
    polled_at: Mapped[float | None]
    error: Mapped[str] = mapped_column(default="")  # why the last fetch failed
    report_error: Mapped[str] = mapped_column(default="")  # why the last report failed
    denied_at: Mapped[
        float | None
    ]  # since then its token is no good: nothing is reported until there is a new one
    ssh: Mapped[str] = mapped_column(default="")  # hermes.ssh_address: fetched from there; "": by HTTPS
    host_key: Mapped[str] = mapped_column(default="")  # of that server; "": what its forge has published
    public_key: Mapped[str] = mapped_column(default="")  # of its deploy key

    @property
    def url(self) -> str:
        """What is fetched from."""
        return f"{self.base_url}/{self.name}.git"

    @property
    def place(self) -> "Place":
        """Where it is."""
        return Place(self.kind, self.name, self.base_url, self.api_url)


class Place(NamedTuple):
    """A repository elsewhere, as people name it; checked by `place_of`."""

    kind: str
    name: str
    base_url: str
    api_url: str


def place_of(kind: str, name: str, base_url: str = "", api_url: str = "") -> Place:
    """With what is left out filled in. Raises UserError. Whether its address may be reached is seen when it
    is connected to."""
    if kind not in KINDS:
        raise UserError(f"a forge is one of {', '.join(KINDS)}, not {kind[:40]!r}", "Forgejo is as gitea")
    usual, api = KINDS[kind]
    base_url = base_url.rstrip("/") or usual
    if not base_url:
        raise UserError(f"where is this {kind}?", "for example https://forge.example.org")
    api_url = api_url.rstrip("/") or _PUBLIC_API.get(base_url, base_url + api)
    for url in (base_url, api_url):
        _check_url(url)
    parts = name.split("/")
    is_good = 2 <= len(parts) <= _MOST_PARTS.get(kind, 2) and all(map(_PART.fullmatch, parts))
    if not is_good or name.endswith(".git"):
        raise UserError(f"{name[:200]!r} is no repository there", "for example octocat/hello-world")
    return Place(kind, name, base_url, api_url)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment or not re.fullmatch(r"[!-~]{1,300}", url):
        raise UserError(f"{url[:200]!r} is no address of a forge", "for example https://forge.example.org")
    if parts.username is not None or parts.password is not None:
        raise UserError("an address of a forge has no user and password", "give the token by itself")


def make_hook_secret() -> str:
    """For the settings of a webhook, there and here."""
    return secrets.token_hex(LEAST_SECRET_BYTES)


def hook_url(public_url: str, kind: str, owner: str, name: str) -> str:
    """Where webhooks for a repository of ours are sent; its own, as a forge has each address only once."""
    return f"{public_url}/webhooks/{kind}/{owner}/{name}"


def sealed_name(repo_id: int, what: str) -> str:
    """Of one of its secrets, in hermes.sealed."""
    return f"upstream {repo_id} {what}"


async def sealed_of(session: AsyncSession, key: Path, repo_id: int, what: str) -> str:
    """One of its secrets, "" if there is none; `key` as in `connect`. Raises Unavailable."""
    return await unseal(session, key, sealed_name(repo_id, what))


async def has_sealed(session: AsyncSession, repo_id: int, what: str) -> bool:
    """Whether it has this secret, which is not read for that."""
    return await session.get(Sealed, sealed_name(repo_id, what)) is not None


async def upstream_of(session: AsyncSession, repo_id: int) -> Upstream | None:
    """If it has one."""
    return await session.get(Upstream, repo_id)


async def connect(
    session: AsyncSession, key: Path, repo_id: int, user_id: int, place: Place, given: Mapping[str, str]
) -> Upstream:
    """From now on this repository follows that one, in place of any other. `key`: the file of
    hermes.secret_keys; `given`: those of SEALED that are new, "" to forget one; the others stay while the
    place does. Raises UserError, or Unavailable when the key is gone."""
    secret = given.get(HOOK_SECRET)
    if secret is not None and len(secret.encode()) < LEAST_SECRET_BYTES:
        raise UserError(f"a webhook's secret has {LEAST_SECRET_BYTES} characters at least")
    was = await upstream_of(session, repo_id)
    if was is not None and (was.kind, was.name, was.base_url) != place[:3]:
        await disconnect(session, repo_id)
        was = None
    if was is None:
        was = Upstream(repo_id=repo_id, created_at=time.time(), reports=True, error="", **place._asdict())
        session.add(was)
    was.user_id, was.api_url, was.error = user_id, place.api_url, ""
    for what in SEALED:
        if value := given.get(what, ""):
            await seal(session, key, sealed_name(repo_id, what), value)
        elif what in given:
            await forget(session, sealed_name(repo_id, what))
    await session.flush()
    return was


async def disconnect(session: AsyncSession, repo_id: int) -> None:
    """It follows nothing any more; what has come of it stays."""
    await session.execute(delete(Upstream).where(Upstream.repo_id == repo_id))
    await arrivals.forget(session, repo_id)
    await forget(session, *(sealed_name(repo_id, what) for what in SEALED))
    await session.flush()
