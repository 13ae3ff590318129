"""Takes arrivals: each is fetched from the one address that is configured, and received as a push is.

Several repositories at once, one arrival of each at a time. What was in the way is said where people look:
with the arrival, and with the repository that is followed."""

import asyncio
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hermes import arrivals
from hermes.arrivals import ARRIVALS, Arrival
from hermes.audit import Actor, write_down
from hermes.errors import DiskFull, HermesError, TooMany, Unavailable, UserError
from hermes.faultpoint import faultpoint
from hermes.journal import log
from hermes.process import Context
from hermes.queue import CHANGED
from hermes.refs import BRANCHES, TAGS
from hermes.reports import tell_pull, tell_words
from hermes.taking import Take
from hermes.threads import in_thread
from hermes.upstreams import Upstream
from hooks.following import Following
from hooks.polling import Polling

_AT_ONCE = 4
_SPARE_S = 300.0  # of a lease, for the receiver
_SETTLE_WAITS_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class Ended(NamedTuple):
    """What became of one try. `state`: of hermes.arrivals.STATES; waiting: it is tried again."""

    state: str
    reason: str = ""
    push_id: int | None = None
    sha: str | None = None  # what its ref is there; "": it is gone


class Fetching:
    """The one worker of an instance."""

    def __init__(self, context: Context, take: Take, polling: Polling) -> None:
        self._context, self._polling = context, polling
        self._following = Following(context, take)
        self._bell = context.doorbell.bell(ARRIVALS)
        self._busy: dict[int, asyncio.Task[None]] = {}  # by repository
        self._lease_s = context.settings.push_time + _SPARE_S

    async def keep(self) -> None:
        """For ever; a database that is away is waited for."""
        is_resumed = False
        await in_thread(shutil.rmtree, self._context.paths.fetches, ignore_errors=True)
        self._bell.ring()
        while True:
            await self._bell.wait(self._context.settings.poll)
            try:
                if not is_resumed:
                    async with self._context.database.write() as session:
                        await arrivals.resume(session)
                    is_resumed = True
                for arrival in await self._claim():
                    self._begin(arrival)
            except Unavailable as error:
                log.warning("arrivals not read", error=str(error))

    async def _claim(self) -> list[Arrival]:
        free = _AT_ONCE - len(self._busy)
        if free <= 0:
            return []
        async with self._context.database.read() as session:
            due = await arrivals.waiting(session, list(self._busy), free)
        if not due:
            return []
        async with self._context.database.write() as session:
            return [each for each in due if await arrivals.claim(session, each, self._lease_s)]

    def _begin(self, arrival: Arrival) -> None:
        task = asyncio.create_task(self._work(arrival))
        self._busy[arrival.repo_id] = task
        task.add_done_callback(lambda done: self._end(arrival, done))

    def _end(self, arrival: Arrival, task: asyncio.Task[None]) -> None:
        self._busy.pop(arrival.repo_id, None)
        if not task.cancelled() and (
            error := task.exception()
        ):  # a mistake of ours: its lease ends some time
            log.error("an arrival broke", id=arrival.id, error=repr(error))
        self._bell.ring()

    async def _work(self, arrival: Arrival) -> None:
        scratch, began = self._context.paths.fetches / f"{arrival.id}.git", time.time()
        try:
            ended = await self._try(arrival, scratch)
        except (TooMany, DiskFull) as error:
            ended = Ended("waiting", str(error))
        except UserError as error:
            ended = Ended("refused", error.whole)
        except (HermesError, OSError) as error:
            ended = Ended("waiting", str(error))
        finally:
            await in_thread(shutil.rmtree, scratch, ignore_errors=True)
        for wait_s in _SETTLE_WAITS_S:
            try:
                await self._settle(arrival, ended, began)
                return
            except Unavailable as error:  # its lease holds it meanwhile
                log.warning("arrival not settled", id=arrival.id, error=str(error))
                await asyncio.sleep(wait_s)

    async def _try(self, arrival: Arrival, scratch: Path) -> Ended:
        """Raises UserError for what is refused for good, Unavailable for what passes."""
        upstream = await self._following.upstream(arrival.repo_id)
        if not arrival.ref:
            moved = await self._polling.look(upstream)
            words = f"{moved} of its branches and tags have moved" if moved else ""
            return Ended("taken" if moved else "unchanged", words)
        found = await self._following.fetch(upstream, arrival, scratch)
        if not found.updates:
            push_id = await self._following.pushed(arrival, found.sha)
            words = "" if push_id else "it is here already" if found.sha else "it is gone there, and not here"
            return Ended("taken" if push_id else "unchanged", words, push_id, found.sha)
        taken = await self._following.take(upstream, arrival, found, scratch)
        if taken.reasons:
            words = f"{taken.words}; {taken.hint}" if taken.hint else taken.words
            return Ended("waiting" if taken.passes else "refused", words, None, found.sha)
        faultpoint("webhook.taken")
        return Ended("taken", "", taken.pushes.get(arrival.ref), found.sha)

    async def _settle(self, arrival: Arrival, ended: Ended, began: float) -> None:
        async with self._context.database.write() as session:
            row = await session.get_one(Arrival, arrival.id)
            if ended.state == "waiting":
                arrivals.try_again(row, ended.reason)
            else:
                arrivals.end(row, ended.state, ended.reason, ended.push_id)
            if row.state in arrivals.OVER:
                await arrivals.end_alike(session, row, began)
            upstream = await session.get(Upstream, row.repo_id)
            if upstream is not None:
                is_well = row.state in ("taken", "unchanged")
                upstream.error = "" if is_well else f"{row.ref or 'its branches and tags'}: {row.reason}"
                if is_well:
                    await tell_pull(session, row)
                if row.state == "refused" and ended.sha:
                    await tell_words(session, row.repo_id, ended.sha, "failed", row.reason)
                if row.state == "refused":
                    write_down(
                        session, Actor("", upstream.url), "fetch refused", upstream.name, upstream.error
                    )
            if row.ref.startswith((BRANCHES, TAGS)) and ended.sha is not None and row.state in arrivals.OVER:
                await arrivals.seen(session, row.repo_id, row.ref, ended.sha)
        log.info(f"arrival {row.state}", id=row.id, repo=row.repo_id, ref=row.ref, reason=row.reason)
        with suppress(Unavailable):
            await self._context.doorbell.ring(CHANGED)
