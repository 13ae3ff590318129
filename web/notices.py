"""Tells others how runs ended: messages leave the outbox, several at a time, one of each notification."""

import time
from dataclasses import dataclass
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from hermes import outbox
from hermes.errors import Unavailable, UserError
from hermes.journal import log
from hermes.mail import NoSuchMailbox
from hermes.notices import TOPIC, lane_of
from hermes.notifications import pause, write_attempt
from hermes.outbox import Hopeless
from hermes.outward import Undelivered
from hermes.queue import CHANGED
from hermes.repos import may_write
from hermes.retry_after import Rests, refusal
from hermes.sending import Lanes, keep_sending
from hermes.tables import NoticeAttempt, Notification, Outbox, Repo, User
from web.notice_door import Door, Doors
from web.notice_message import TEST, Message, compose, test_message
from web.site import Site

_MOST_AT_ONCE = 50
_GONE = 410


class Closed(Hopeless):
    """Nothing is to be sent there any more."""


@dataclass
class Tried:
    """What came of a try so far; `pauses`: why nothing is to be sent there any more."""

    began: float
    status: int | None = None
    is_hopeless: bool = False
    pauses: str = ""


class Notices:
    """Sends, and writes down what came of it."""

    def __init__(self, site: Site) -> None:
        self._site, self._database = site, site.context.database
        self.doors = Doors(site.context)
        self._rests = Rests()  # lanes

    async def keep_sending(self) -> None:
        """For ever; quiet while nothing waits."""
        bell = self._site.context.doorbell.bell(CHANGED)
        lanes = Lanes(self._database, TOPIC, _MOST_AT_ONCE, self._try, bell)
        try:
            await keep_sending(self._site.context, (TOPIC,), bell, partial(self._look, lanes))
        finally:
            await lanes.end()

    async def _look(self, lanes: Lanes) -> float:
        """Begin what can begin; how long until the next look."""
        await lanes.begin(self._rests.now)
        at, poll_s = await outbox.next_at(self._database, TOPIC), self._site.context.settings.poll
        left_s = poll_s if at is None else at - time.time()
        return min(left_s, poll_s) if left_s > 0 else poll_s  # what is due waits for one that is on its way

    async def _try(self, row: Outbox) -> None:
        tried = Tried(time.time())
        await outbox.deliver(self._database, row, partial(self._send, tried), partial(self._write, tried))

    async def _send(self, tried: Tried, row: Outbox) -> None:
        """Raises Undelivered, Hopeless."""
        try:
            door, message = await self._prepare(row)
            await self._deliver(tried, door, message)
        except UserError as error:  # the run may not be seen (any more)
            tried.is_hopeless = True
            raise Hopeless(str(error)) from None
        except Hopeless as error:
            tried.is_hopeless = True
            tried.pauses = str(error) if isinstance(error, Closed | NoSuchMailbox) else ""
            raise
        except Unavailable as error:
            raise Undelivered(str(error)) from None
        except Undelivered:
            raise
        except Exception as error:
            log.error("notice broke", key=row.key, error=repr(error))
            raise Undelivered(f"a mistake of ours: {type(error).__name__}") from None

    async def _prepare(self, row: Outbox) -> tuple[Door, Message]:
        """Raises Closed where nobody may be told any more, NotFound where the run may not be seen."""
        async with self._database.read() as session:
            notification = await session.get(Notification, row.payload["notification"])
            if notification is None or notification.paused_at is not None:
                raise Hopeless("it was removed, or paused")
            user = await session.get_one(User, notification.user_id)
            if user.disabled_at is not None:
                raise Closed(f"the account {user.name} is disabled")
            repo = None if notification.repo_id is None else await session.get_one(Repo, notification.repo_id)
            if repo is not None and not await may_write(session, user, repo):
                raise Closed(f"{user.name}, who has made it, may not push there any more")
            message = await compose(self._site, session, row.payload, user, row.key)
            return await self.doors.find(session, notification), message

    async def _deliver(self, tried: Tried, door: Door, message: Message) -> None:
        """Raises Undelivered, Hopeless."""
        answer = await self.doors.deliver(door, message)
        tried.status = answer.status
        if tried.status == _GONE:
            raise Closed("its receiver says that it is gone for good (410)")
        if not 200 <= tried.status < 300:
            refused = refusal(answer)
            self._rests.begin(lane_of(door.row.id), refused.least_s)
            raise refused

    async def _write(self, tried: Tried, session: AsyncSession, row: Outbox) -> None:
        """In the transaction that settles the try."""
        notification = await session.get(Notification, row.payload["notification"])
        if notification is None:
            return
        attempt = _attempt(notification, row.payload["event"], tried, row.error)
        attempt.run_id, attempt.outbox_id = row.payload["run"], row.id
        await write_attempt(session, notification, attempt)
        is_given_up = outbox.is_given_up(row) and not tried.is_hopeless
        if is_given_up and (notification.taken_at or 0.0) < row.created_at:
            tried.pauses = f"in {row.tries} tries nothing was taken: {row.error}"
        if tried.pauses:
            await pause(session, notification, tried.pauses)
            log.warning("notification paused", id=notification.id, why=tried.pauses)

    async def test(self, row: Notification, asker: User) -> NoticeAttempt:
        """A message of no run, now, also while it is paused; what came of it."""
        tried, error = Tried(time.time()), ""
        try:
            async with self._database.read() as session:
                door = await self.doors.find(session, row)
            await self._deliver(tried, door, test_message(self._site, row, asker, tried.began))
        except Undelivered as failure:
            error = str(failure)
        attempt = _attempt(row, TEST, tried, error)
        async with self._database.write() as session:
            await write_attempt(session, await session.get_one(Notification, row.id), attempt)
        return attempt


def _attempt(row: Notification, event: str, tried: Tried, error: str) -> NoticeAttempt:
    now = time.time()
    return NoticeAttempt(
        notification_id=row.id,
        event=event,
        status=tried.status,
        error=error[:300],
        duration_s=max(now - tried.began, 0.0),
        at=now,
    )
