"""What people and programs do with notifications: one transaction each, which the audit log knows of."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from hermes.audit import Actor, write_down
from hermes.branch_patterns import check_branches
from hermes.errors import NotFound, Refused, TooMany
from hermes.notifications import (
    MAIL,
    STOPPED,
    Whose,
    Wish,
    add_notification,
    check_events,
    check_not_stopped,
    find_notification,
    list_attempts,
    list_notifications,
    pause,
    remove_notification,
    resume,
    send_again,
)
from hermes.queue import CHANGED
from hermes.repos import get_readable, may_write
from hermes.secret_keys import key_file
from hermes.tables import NoticeAttempt, Notification, User
from hermes.throttle import Throttle
from web.notices import Notices
from web.site import Site

_TESTS, _WINDOW_S = 30, 60.0


@dataclass(frozen=True)
class Change:
    """None: as it is."""

    events: str | None = None
    branches: Sequence[str] | None = None
    paused: bool | None = None

    @property
    def words(self) -> str:
        """For the audit log."""
        branches = None if self.branches is None else " ".join(self.branches) or "the default"
        paused = None if self.paused is None else "paused" if self.paused else "resumed"
        parts = {"events": self.events, "branches": branches, "": paused}
        return ", ".join(f"{name} {value}".strip() for name, value in parts.items() if value is not None)


@dataclass(frozen=True)
class Asker:
    """Who acts on whose notifications; `subject` is what the audit log calls these."""

    whose: Whose
    by: Actor
    subject: str


class NotificationActs:
    """For pages and for the API."""

    def __init__(self, site: Site) -> None:
        self._site, self._notices = site, Notices(site)
        self._database, self._settings = site.context.database, site.context.settings
        self._tests = Throttle(_TESTS, _WINDOW_S)

    async def of_repo(self, user: User, by: Actor, owner: str, name: str) -> Asker:
        """For who may push there. Raises NotFound, Refused."""
        async with self._database.read() as session:
            repo = await get_readable(session, user, owner, name)
            if not await may_write(session, user, repo):
                raise Refused(
                    f"you may read {owner}/{name}, but not say who is told of its runs",
                    f"ask {owner} to make you a collaborator who may write",
                )
        return Asker(Whose(user, repo), by, f"{owner}/{name}")

    def of_user(self, user: User, by: Actor) -> Asker:
        """Of their own runs."""
        return Asker(Whose(user), by, user.name)

    async def all(self, asker: Asker) -> list[tuple[Notification, str]]:
        """With who made them."""
        async with self._database.read() as session:
            return await list_notifications(session, asker.whose)

    async def find(self, asker: Asker, notification_id: int) -> tuple[Notification, str]:
        """With who made it. Raises NotFound."""
        found = [each for each in await self.all(asker) if each[0].id == notification_id]
        if not found:
            raise NotFound("there is no such notification there")
        return found[0]

    async def attempts(self, asker: Asker, notification_id: int) -> Sequence[NoticeAttempt]:
        """The newest first. Raises NotFound."""
        async with self._database.read() as session:
            row = await find_notification(session, asker.whose, notification_id)
            return await list_attempts(session, row)

    async def add(self, asker: Asker, wish: Wish) -> tuple[Notification, str]:
        """And the secret that signs it. Raises UserError, Refused."""
        async with self._database.write() as session:
            key = key_file(self._settings)
            row, secret = await add_notification(session, key, self._settings, asker.whose, wish)
            detail = f"{row.id}: {row.kind} {row.shown} {row.events}"
            write_down(session, asker.by, "notification added", asker.subject, detail)
        return row, secret

    async def change(self, asker: Asker, notification_id: int, change: Change) -> None:
        """Raises NotFound, UserError, Refused."""
        async with self._database.write() as session:
            row = await find_notification(session, asker.whose, notification_id)
            if not change.words:
                return
            if change.events is not None:
                check_events(change.events)
                row.events = change.events
            if change.branches is not None:
                check_branches("a notification", change.branches)
                row.branches = list(change.branches)
            if change.paused:
                await pause(session, row, f"by {asker.whose.user.name}")
            elif change.paused is not None:
                resume(row)
            detail = f"{row.id}: {change.words}"
            write_down(session, asker.by, "notification changed", asker.subject, detail)

    async def remove(self, asker: Asker, notification_id: int) -> None:
        """Raises NotFound."""
        async with self._database.write() as session:
            row = await find_notification(session, asker.whose, notification_id)
            detail = f"{row.id}: {row.kind} {row.shown}"
            await remove_notification(session, row)
            write_down(session, asker.by, "notification removed", asker.subject, detail)

    async def test(self, asker: Asker, notification_id: int) -> NoticeAttempt:
        """A test message, now. Raises NotFound, Refused, TooMany."""
        async with self._database.read() as session:
            row = await find_notification(session, asker.whose, notification_id)
        check_not_stopped(row)
        key = asker.whose.user.name
        if wait_s := self._tests.wait_s(key):
            raise TooMany(f"{_TESTS} tests a minute are the most", wait_s)
        self._tests.count(key)
        return await self._notices.test(row, asker.whose.user)

    async def again(self, asker: Asker, notification_id: int, attempt_id: int) -> None:
        """What this attempt told is on its way once more. Raises NotFound, Refused."""
        async with self._database.write() as session:
            row = await find_notification(session, asker.whose, notification_id)
            await send_again(session, row, attempt_id)
        await self._site.context.doorbell.ring(CHANGED)

    async def log_of(self, rows: Sequence[Notification]) -> dict[int, list[NoticeAttempt]]:
        """The newest attempts of each, by its id."""
        mine = NoticeAttempt.notification_id.in_([row.id for row in rows])
        found: dict[int, list[NoticeAttempt]] = {row.id: [] for row in rows}
        async with self._database.read() as session:
            newest = select(NoticeAttempt).where(mine).order_by(NoticeAttempt.id.desc())
            for each in (await session.scalars(newest)).all():
                found[each.notification_id].append(each)
        return found

    async def stop(self, notification_id: int, key: str, address: str) -> str:
        """By who receives its mail; returns where it went. Raises NotFound."""
        is_right = hmac.compare_digest(key.encode(), self._notices.doors.stop_key(notification_id).encode())
        async with self._database.write() as session:
            row = await session.get(Notification, notification_id) if is_right else None
            if row is None or row.kind != MAIL:
                raise NotFound("there is no such mail, or no more", "the address in the mail has to be whole")
            if row.paused_at is None:
                await pause(session, row, STOPPED)
                detail = f"{row.id}: paused by its receiver"
                write_down(session, Actor("", address), "notification changed", row.shown, detail)
            return row.shown
