"""Looks at the branches and tags of every repository that is followed now and then: what no webhook has
told, because we were away or it was lost, becomes an arrival."""

import asyncio
import random
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.arrivals import ARRIVALS, OVER, Arrival, UpstreamHeads, put
from hermes.cause import Cause
from hermes.errors import HermesError, Unavailable, UserError
from hermes.journal import log
from hermes.names import check_branch
from hermes.process import Context
from hermes.pushes import USUAL
from hermes.refs import BRANCHES, NOTHING, TAGS, short_ref
from hermes.tables import WebhookDelivery
from hermes.threads import in_thread
from hermes.upstreams import Upstream
from hooks.events import commit_page
from hooks.following import refs_here, remote_of

_AT_ONCE = 4
_FIRST_S = 5.0  # after a start they are spread over that
_MOST_MOVED = 100  # of one look; the others are seen at the next one
_KEEP_DELIVERIES_S, _KEEP_ARRIVALS_S = 31 * 86400.0, 90 * 86400.0
_SWEEP_EVERY_S = 3600.0
_POLLING = "polling: "  # how errors of ours begin, and nobody else's


class Polling:
    """The one of an instance."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._next: dict[int, float] = {}  # by repository, of the monotonic clock
        self._looking: dict[int, asyncio.Task[None]] = {}  # by repository
        # of two looks at a time the older one could end last, and take back what the other has found
        self._one_look: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._swept_at = 0.0

    async def keep(self) -> None:
        """For ever; HERMES_UPSTREAM_POLL=0: it only sweeps."""
        while True:
            await asyncio.sleep(self._context.settings.poll * random.uniform(0.8, 1.2))
            try:
                if time.monotonic() - self._swept_at > _SWEEP_EVERY_S:
                    await self._sweep()
                    self._swept_at = time.monotonic()
                if self._context.settings.upstream_poll:
                    for upstream in await self._due():
                        task = asyncio.create_task(self._look(upstream))
                        self._looking[upstream.repo_id] = task
                        task.add_done_callback(partial(self._done, upstream.repo_id))
            except Unavailable as error:
                log.warning("upstreams not read", error=str(error))

    async def _due(self) -> list[Upstream]:
        """Each is looked at soon after a start, then in its turn."""
        async with self._context.database.read() as session:
            all_ = (await session.scalars(select(Upstream))).all()
        now, interval_s = time.monotonic(), self._context.settings.upstream_poll
        self._next = {
            each.repo_id: self._next.get(each.repo_id, now + random.uniform(0, min(_FIRST_S, interval_s)))
            for each in all_
        }
        free = _AT_ONCE - len(self._looking)
        idle = (each for each in all_ if each.repo_id not in self._looking)
        ripe = sorted((each for each in idle if self._next[each.repo_id] <= now), key=self._turn)[:free]
        for each in ripe:
            self._next[each.repo_id] = now + interval_s * random.uniform(0.9, 1.1)
        return ripe

    def _done(self, repo_id: int, _task: "asyncio.Task[None]") -> None:
        self._looking.pop(repo_id, None)

    def _turn(self, upstream: Upstream) -> float:
        return self._next[upstream.repo_id]

    async def _look(self, upstream: Upstream) -> None:
        error = ""
        try:
            await self.look(upstream)
            return
        except UserError as refused:
            error = refused.whole
        except (HermesError, OSError) as failure:
            error = str(failure)
        log.warning("upstream not polled", repo=upstream.repo_id, error=error)
        try:
            async with self._context.database.write() as session:
                row = await _still(session, upstream)
                if row is not None:
                    row.polled_at, row.error = time.time(), f"{_POLLING}{error}"[:300]
        except Unavailable as failure:
            log.warning("poll not written down", repo=upstream.repo_id, error=str(failure))

    async def look(self, upstream: Upstream) -> int:
        """How many of its branches and tags have moved since the last look. Raises UserError, Unavailable."""
        async with self._one_look[upstream.repo_id]:
            return await self._look_now(upstream)

    async def _look_now(self, upstream: Upstream) -> int:
        remote = await remote_of(self._context, upstream)
        refs, first = await remote.refs()
        here = await in_thread(_refs_here, self._context.paths.repo(upstream.repo_id))
        async with self._context.database.write() as session:
            row = await _still(session, upstream)
            if row is None:
                return 0
            row.polled_at = time.time()
            if row.error.startswith(_POLLING):
                row.error = ""
            known = await session.get(UpstreamHeads, upstream.repo_id)
            seen = _seen(known, first, refs)
            moved = _moved(seen, refs)[:_MOST_MOVED]
            told = await _waiting(session, upstream.repo_id)
            fresh = [ref for ref in moved if ref not in told and here.get(ref) != refs.get(ref)]
            for ref in fresh:
                put(session, _arrival(upstream, ref, refs.get(ref, NOTHING)))
            if known is None:
                known = UpstreamHeads(repo_id=upstream.repo_id)
                session.add(known)
            now = seen | {ref: refs.get(ref) for ref in moved}
            known.keep({ref: sha for ref, sha in now.items() if sha})
        if fresh:
            await self._context.doorbell.ring(ARRIVALS)
        return len(fresh)

    async def _sweep(self) -> None:
        """What is too old to matter. Reading first keeps an idle instance from writing."""
        now = time.time()
        old = (
            (WebhookDelivery, WebhookDelivery.received_at < now - _KEEP_DELIVERIES_S),
            (Arrival, (Arrival.ended_at < now - _KEEP_ARRIVALS_S) & Arrival.state.in_(OVER)),
            (Arrival, (Arrival.created_at < now - _KEEP_ARRIVALS_S) & (Arrival.state == "held")),
        )
        for table, condition in old:
            async with self._context.database.read() as session:
                is_there = (await session.execute(select(table).where(condition).limit(1))).first()
            if is_there is not None:
                async with self._context.database.write() as session:
                    await session.execute(delete(table).where(condition))


async def _still(session: AsyncSession, upstream: Upstream) -> Upstream | None:
    """What is followed, if it still is: what another one has must not be missing in this one."""
    row = await session.get(Upstream, upstream.repo_id)
    is_same = row is not None and (row.url, row.created_at) == (upstream.url, upstream.created_at)
    return row if is_same else None


def _seen(known: UpstreamHeads | None, first: str, refs: dict[str, str]) -> dict[str, str]:
    """What was there when somebody looked last. Of one that was just connected only the default branch is
    new; if it is not told, the usual one. Tags that were there before the first look at them are not new."""
    if known is None:
        usual = next((ref for ref in USUAL if ref in refs), "")
        return {ref: sha for ref, sha in refs.items() if ref != (first or usual)}
    if known.tags is None:
        return {**known.heads, **{ref: sha for ref, sha in refs.items() if ref.startswith(TAGS)}}
    return {**known.heads, **known.tags}


def _moved(seen: dict[str, str], refs: dict[str, str]) -> list[str]:
    """Refs that are not what they were, with names that we take."""
    changed = [ref for ref, sha in refs.items() if seen.get(ref) != sha]
    gone = [ref for ref in seen if ref not in refs]
    return [ref for ref in (*changed, *gone) if _is_good(ref)]


def _is_good(ref: str) -> bool:
    try:
        check_branch(short_ref(ref))
    except UserError:
        return False
    return True


async def _waiting(session: AsyncSession, repo_id: int) -> set[str]:
    """Refs that somebody will look at anyway."""
    found = select(Arrival.ref).where(Arrival.repo_id == repo_id, Arrival.state == "waiting")
    return set((await session.scalars(found)).all())


def _arrival(upstream: Upstream, ref: str, sha: str) -> Arrival:
    is_gone = sha == NOTHING
    page = f"{upstream.base_url}/{upstream.name}{commit_page(upstream.kind, sha)}"
    cause = Cause(f"found on {upstream.name} by polling", "" if is_gone else page)
    return Arrival(repo_id=upstream.repo_id, source="poll", ref=ref, sha=sha, cause=cause.row())


def _refs_here(repo: Path) -> dict[str, str]:
    return refs_here(repo, BRANCHES, TAGS) if repo.exists() else {}
