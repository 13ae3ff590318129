"""Tells forges how it stands with the commits that came from them: a state of each commit, and a comment on
a pull request. One message at a time to each repository there, and each only when it says something new."""

import asyncio
import hashlib
import time
from collections import defaultdict
from functools import partial
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from hermes import outbox
from hermes.audit import Actor, write_down
from hermes.forges.base import Forge, Status
from hermes.forges.open import open_forge
from hermes.forges.talk import Denied, Limited
from hermes.journal import log
from hermes.outward import Undelivered, parse_networks
from hermes.queue import CHANGED
from hermes.reports import COMMENT, STATUS, TOPICS, Report, keep_report, newest_of_pull, report_of
from hermes.secret_keys import key_file
from hermes.sending import keep_sending
from hermes.tables import Outbox, Repo, Run, User
from hermes.tasks import end
from hermes.upstreams import TOKEN, Upstream, sealed_of
from web.lookup import Place
from web.report_comment import Pull, comment_on, mark_of
from web.report_words import standing_of
from web.site import Site

_LOOK_S = 5.0  # where no bell rings
_HELD_S = 6 * 3600.0  # without a token that is good; a new one ends it


class _To(NamedTuple):
    """Where a message goes."""

    upstream: Upstream
    place: Place
    forge: Forge


class Reports:
    """The only sender of these messages."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.database = site.context.database
        self._turns: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # of each repository
        self.at_work: dict[int, asyncio.Task[None]] = {}  # by message
        self._held: set[int] = set()  # messages at work that wait for a token

    async def look(self) -> float:
        """Begin with all whose time has come; how long until the next look."""
        for topic in TOPICS:
            for row in await outbox.due(self.database, topic):
                if row.id not in self.at_work:
                    task = asyncio.create_task(self._deliver(row))
                    self.at_work[row.id] = task
                    task.add_done_callback(partial(self._done, row.id))
        return _LOOK_S

    def _done(self, row_id: int, _: "asyncio.Task[None]") -> None:
        del self.at_work[row_id]

    async def _deliver(self, row: Outbox) -> None:
        async with self._turns[row.payload["repo"]]:
            await outbox.deliver(self.database, row, self._send, self._wake)

    async def _send(self, row: Outbox) -> None:
        """Raises Undelivered."""
        to = await self._to(row)
        if to is None:
            return
        try:
            await {STATUS: self._send_status, COMMENT: self._send_comment}[row.topic](to, row)
        except Limited:
            raise
        except Undelivered as error:
            await self._note(to.upstream, error)
            if isinstance(error, Denied):
                self._held.add(row.id)
                error.wait_s = _HELD_S
            raise
        if to.upstream.report_error:
            await self._note(to.upstream, None)

    async def _wake(self, session: AsyncSession, tried: Outbox) -> None:
        """A new token that came while this was tried has not seen that it waits: it is due at once."""
        if tried.id not in self._held:
            return
        self._held.discard(tried.id)
        upstream = await session.get(Upstream, tried.payload["repo"])
        if upstream is not None and upstream.denied_at is None:
            tried.next_at = time.time()

    async def _to(self, row: Outbox) -> _To | None:
        """None: nobody wants to hear it any more."""
        context = self.site.context
        async with self.database.read() as session:
            upstream = await session.get(Upstream, row.payload["repo"])
            if upstream is None or not upstream.reports:
                return None
            if upstream.denied_at is not None:
                self._held.add(row.id)
                raise Limited(upstream.report_error, _HELD_S)
            token = await sealed_of(session, key_file(context.settings), upstream.repo_id, TOKEN)
            repo = await session.get_one(Repo, upstream.repo_id)
            owner = (await session.get_one(User, repo.owner_id)).name
        if not token:
            return None
        allowed = parse_networks(context.settings.callback_networks)
        forge = open_forge(upstream.place, token, allowed, self.site.gates)
        return _To(upstream, Place(repo, owner), forge)

    async def _send_status(self, to: _To, row: Outbox) -> None:
        sha, repo_id = row.payload["sha"], to.place.repo.id
        async with self.database.read() as session:
            standing = await standing_of(session, repo_id, sha, row.payload)
            last = await report_of(session, repo_id, f"commit {sha}")
        if standing is None:
            return
        url = f"{self.site.context.settings.public_url}/{to.place.name}/commit/{sha}"
        said = _digest(to, standing.outcome, standing.words, url)
        if last is None or last.said != said:
            await to.forge.put_status(Status(sha, standing.outcome, standing.words, url))
            await self._keep(to, f"commit {sha}", said)

    async def _send_comment(self, to: _To, row: Outbox) -> None:
        number = row.payload["pull"]
        subject = f"pull {number}"
        async with self.database.read() as session:
            found = await newest_of_pull(session, to.place.repo.id, number)
            last = await report_of(session, to.place.repo.id, subject)
        if found is None:
            return
        body = await self._comment(to, number, *found)
        said = _digest(to, body)
        if last is None or last.said != said:
            comment = await self._put_comment(to.forge, number, body, last, mark_of(self.site, to.place))
            await self._keep(to, subject, said, comment)

    async def _comment(self, to: _To, number: int, run: Run, sha: str) -> str:
        base = await to.forge.base_of(number)
        async with self.database.read() as session:
            return await comment_on(self.site, session, Pull(to.place, run, sha, base))

    async def _put_comment(self, forge: Forge, number: int, body: str, last: Report | None, mark: str) -> str:
        """The one that was written before, as long as it is there; its mark leads to one that we forgot."""
        if last is not None and last.remote_id:
            try:
                return await forge.put_comment(number, body, last.remote_id)
            except Denied as error:
                if error.status != 404:
                    raise
        return await forge.put_comment(number, body, await forge.find_comment(number, mark))

    async def _keep(self, to: _To, subject: str, said: str, remote_id: str = "") -> None:
        async with self.database.write() as session:
            await keep_report(session, to.place.repo.id, subject, said, remote_id)

    async def _note(self, upstream: Upstream, error: Undelivered | None) -> None:
        """Where its people see it; that a token is no good any more is told once."""
        words = "" if error is None else str(error)
        if words == upstream.report_error:
            return
        if isinstance(error, Denied):
            words = f"{error}; {error.hint}"
            log.warning("upstream denies", repo=upstream.repo_id, name=upstream.name, error=words)
        async with self.database.write() as session:
            now = await session.get(Upstream, upstream.repo_id)
            if now is None:
                return
            now.report_error = words
            if isinstance(error, Denied):
                now.denied_at = time.time()
                user = await session.get_one(User, now.user_id)
                write_down(session, Actor(user.name, ""), "upstream denied", upstream.name, words)


def _digest(to: _To, *words: str) -> str:
    """Of what is said, and to whom: somewhere else nothing was said yet."""
    whole = "\0".join((to.upstream.api_url, to.upstream.name, *words))
    return hashlib.sha256(whole.encode()).hexdigest()


async def keep_reporting(site: Site) -> None:
    """For ever."""
    bell = site.context.doorbell.bell(CHANGED)
    reports = Reports(site)
    try:
        await keep_sending(site.context, TOPICS, bell, reports.look)
    finally:
        await end(*reports.at_work.values())
