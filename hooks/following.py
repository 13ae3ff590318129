"""One arrival against the repository that is followed: what its ref is there, what it is here, and the push
that makes them the same."""

import shutil
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select

from hermes.arrivals import Arrival
from hermes.cause import Sender, read_cause
from hermes.errors import Refused, Unavailable
from hermes.faultpoint import faultpoint
from hermes.git import init_bare, run_git
from hermes.process import Context
from hermes.pushes import RefUpdate
from hermes.refs import NOTHING, PULLS, RELEASES, TAGS
from hermes.secret_keys import key_file
from hermes.ssh_address import read_address
from hermes.tables import Push
from hermes.taking import Offer, Take, Taken
from hermes.threads import in_thread
from hermes.upstreams import DEPLOY_KEY, TOKEN, Upstream, sealed_of, upstream_of
from hooks.https import Https
from hooks.over_ssh import OverSsh
from hooks.remote import Remote


class Found(NamedTuple):
    """What the ref is there (""; it is gone), and what is to move here."""

    sha: str
    updates: tuple[RefUpdate, ...]


class Following:
    """Of this instance."""

    def __init__(self, context: Context, take: Take) -> None:
        self._context, self._take = context, take

    async def upstream(self, repo_id: int) -> Upstream:
        """Raises Refused when it follows nothing any more."""
        async with self._context.database.read() as session:
            upstream = await upstream_of(session, repo_id)
        if upstream is None:
            raise Refused("this repository follows no other one any more")
        return upstream

    async def fetch(self, upstream: Upstream, arrival: Arrival, scratch: Path) -> Found:
        """Raises Refused, Unavailable."""
        self._context.room.require()
        repo = self._context.paths.repo(arrival.repo_id)
        if not repo.exists():
            await in_thread(init_bare, repo)
        if arrival.is_exact and arrival.sha == NOTHING:  # a closed pull request: there it stays for ever
            return Found("", await self._updates(repo, {arrival.ref: ""}))
        await in_thread(scratch.parent.mkdir, parents=True, exist_ok=True)
        await in_thread(_clear, scratch)
        remote = await remote_of(self._context, upstream)
        sha = await remote.fetch(repo, scratch, _theirs(upstream.kind, arrival.ref))
        faultpoint("webhook.fetched")
        if arrival.is_exact and sha != arrival.sha:
            now = f"it is {sha[:12]} now" if sha else "it is gone now"
            raise Refused(f"{arrival.sha[:12]} was to run, and {now}", "look at that one, and say so again")
        wanted = {arrival.ref: sha}
        if arrival.ref.startswith(RELEASES) and sha:
            wanted = {TAGS + arrival.ref.removeprefix(RELEASES): sha, arrival.ref: await remote.peel(scratch)}
        return Found(sha, await self._updates(repo, wanted))

    async def take(self, upstream: Upstream, arrival: Arrival, found: Found, scratch: Path) -> Taken:
        """Through the receiver of pushes. Raises Unavailable."""
        sender = Sender(upstream.user_id, "webhook", read_cause(arrival.cause))
        return await self._take(Offer(arrival.repo_id, sender, scratch, found.updates))

    async def pushed(self, arrival: Arrival, sha: str) -> int | None:
        """The push that an earlier try has become, if it came that far."""
        same = (Push.repo_id == arrival.repo_id, Push.ref == arrival.ref, Push.trigger == "webhook")
        since = (Push.created_at >= arrival.created_at, Push.state != "abandoned")  # one is soon applied
        newest = select(Push.id, Push.new_sha).where(*same, *since).order_by(Push.id.desc()).limit(1)
        async with self._context.database.read() as session:
            row = (await session.execute(newest)).first()
        is_it = row is not None and (arrival.ref.startswith(RELEASES) or row.new_sha == (sha or NOTHING))
        return row.id if row is not None and is_it else None

    async def _updates(self, repo: Path, wanted: dict[str, str]) -> tuple[RefUpdate, ...]:
        here = await in_thread(refs_here, repo, *wanted)
        changes = [RefUpdate(ref, here.get(ref, NOTHING), sha or NOTHING) for ref, sha in wanted.items()]
        return tuple(each for each in changes if each.old_sha != each.new_sha)


async def remote_of(context: Context, upstream: Upstream) -> Remote:
    """With its deploy key if it has one, else with its token. Raises Unavailable when that cannot be read,
    Refused when it is gone."""
    settings, what = context.settings, DEPLOY_KEY if upstream.ssh else TOKEN
    async with context.database.read() as session:
        secret = await sealed_of(session, key_file(settings), upstream.repo_id, what)
    if not upstream.ssh:
        return Remote(Https(upstream.kind, upstream.url, secret, settings), settings)
    if not secret:
        raise Refused("its deploy key is gone", "connect it anew: hermes github connect … --deploy-key")
    address = read_address(upstream.ssh)
    return Remote(OverSsh(address, upstream.name, upstream.host_key, secret, settings), settings)


def refs_here(repo: Path, *patterns: str) -> dict[str, str]:
    """{ref: id} in a repository of ours, of those named or below a folder that is."""
    lines = run_git(repo, "for-each-ref", "--format=%(objectname) %(refname)", "--", *patterns).decode()
    return {ref: sha for sha, _, ref in (line.partition(" ") for line in lines.splitlines())}


def _theirs(kind: str, ref: str) -> str:
    """What is called so there."""
    if ref.startswith(RELEASES):
        return TAGS + ref.removeprefix(RELEASES)
    if ref.startswith(PULLS) and kind == "gitlab":
        return f"refs/merge-requests/{ref.removeprefix(PULLS)}"
    return ref


def _clear(scratch: Path) -> None:
    """What an earlier try has left."""
    shutil.rmtree(scratch, ignore_errors=True)
    if scratch.exists():
        raise Unavailable(f"{scratch.name} cannot be removed")
