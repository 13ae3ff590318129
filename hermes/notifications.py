"""Who is told how runs ended: set, paused, removed, and what came of telling them."""

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes import outbox
from hermes.branch_patterns import check_branches
from hermes.errors import NotFound, Refused, UserError
from hermes.names import is_mail_address
from hermes.notices import EVENTS, TOPIC, lane_of
from hermes.outward import check_url, parse_networks
from hermes.sealed import forget, seal
from hermes.settings import Settings
from hermes.tables import NoticeAttempt, Notification, Outbox, Repo, User

WEBHOOK, MAIL = "webhook", "mail"
#: What each is called on pages.
KINDS = {
    WEBHOOK: "Webhook",
    MAIL: "E-mail",
    "slack": "Slack",
    "mattermost": "Mattermost",
    "discord": "Discord",
    "ntfy": "ntfy",
}
POLICIES = {
    "changes": "when a branch broke, and when it is fixed",
    "failures": "every failure, and when it is fixed",
    "all": "every run",
}
MOST = 20  # of one repository, and of one user
KEPT_ATTEMPTS = 50  # of each
STOPPED = "its receiver has asked for no more mail"
TARGET, SECRET = "target", "secret"  # what is sealed of each
_TOPIC_NAME = re.compile(r"/[A-Za-z0-9_-]{1,64}/?")


@dataclass(frozen=True)
class Whose:
    """Whose notifications: a repository's, or without one a user's. `user`: who asks."""

    user: User
    repo: Repo | None = None

    @property
    def rows(self) -> ColumnElement[bool]:
        """A condition on Notification."""
        if self.repo is not None:
            return Notification.repo_id == self.repo.id
        return and_(Notification.repo_id.is_(None), Notification.user_id == self.user.id)


@dataclass(frozen=True)
class Wish:
    """What somebody asks for. `secret` signs a webhook; without one it is made."""

    kind: str
    target: str
    events: str = "changes"
    branches: tuple[str, ...] = ()
    secret: str = ""


def sealed_name(notification_id: int, what: str) -> str:
    """Of one of its secrets, in hermes.sealed."""
    return f"notification {notification_id} {what}"


async def list_notifications(session: AsyncSession, whose: Whose) -> list[tuple[Notification, str]]:
    """With who made them, the oldest first."""
    found = select(Notification, User.name).join(User, User.id == Notification.user_id)
    rows = await session.execute(found.where(whose.rows).order_by(Notification.id))
    return [(each, user) for each, user in rows.all()]


async def find_notification(session: AsyncSession, whose: Whose, notification_id: int) -> Notification:
    """Raises NotFound."""
    found = select(Notification).where(Notification.id == notification_id, whose.rows)
    row = (await session.scalars(found)).first()
    if row is None:
        raise NotFound("there is no such notification there")
    return row


async def add_notification(
    session: AsyncSession, key: Path, settings: Settings, whose: Whose, wish: Wish
) -> tuple[Notification, str]:
    """And the secret that signs its webhooks, which is shown this once. `key`: the file. Raises UserError,
    Refused, Unavailable."""
    check_wish(wish, settings)
    kinds = (await session.scalars(select(Notification.kind).where(whose.rows))).all()
    if len(kinds) >= MOST:
        raise Refused(f"there are {MOST} notifications already", "remove one that nobody needs any more")
    if whose.repo is None and wish.kind == MAIL and MAIL in kinds:
        raise Refused("your mail has an address already", "remove it, to be told at another one")
    row = Notification(
        user_id=whose.user.id,
        repo_id=None if whose.repo is None else whose.repo.id,
        kind=wish.kind,
        shown=_shown(wish),
        events=wish.events,
        branches=list(wish.branches),
        created_at=time.time(),
    )
    session.add(row)
    await session.flush()
    await seal(session, key, sealed_name(row.id, TARGET), wish.target)
    secret = (wish.secret or secrets.token_urlsafe(32)) if wish.kind == WEBHOOK else ""
    if secret:
        await seal(session, key, sealed_name(row.id, SECRET), secret)
    return row, secret


async def remove_notification(session: AsyncSession, row: Notification) -> None:
    """With its log, its secrets and what waits for it."""
    await drop_waiting(session, row)
    await session.execute(delete(Outbox).where(Outbox.lane == lane_of(row.id)))
    await session.execute(delete(NoticeAttempt).where(NoticeAttempt.notification_id == row.id))
    await forget(session, sealed_name(row.id, TARGET), sealed_name(row.id, SECRET))
    await session.delete(row)


async def pause(session: AsyncSession, row: Notification, why: str) -> None:
    """Nothing is sent from now on, nor kept for later."""
    if row.paused_at is None:
        row.paused_at, row.paused_why = time.time(), why
    await drop_waiting(session, row)


def check_not_stopped(row: Notification) -> None:
    """Raises Refused where its receiver wants no mail, not even a test."""
    if row.paused_why == STOPPED:
        raise Refused(STOPPED, "ask them; then remove it, and add it anew")


def resume(row: Notification) -> None:
    """Of the next run that ends it is told again. Raises Refused."""
    check_not_stopped(row)
    row.paused_at, row.paused_why, row.error = None, "", ""


async def drop_waiting(session: AsyncSession, row: Notification) -> None:
    """What was not taken yet."""
    await session.execute(delete(Outbox).where(Outbox.lane == lane_of(row.id), Outbox.sent_at.is_(None)))


async def list_attempts(session: AsyncSession, row: Notification) -> Sequence[NoticeAttempt]:
    """The newest first."""
    found = select(NoticeAttempt).where(NoticeAttempt.notification_id == row.id)
    return (await session.scalars(found.order_by(NoticeAttempt.id.desc()).limit(KEPT_ATTEMPTS))).all()


async def write_attempt(session: AsyncSession, row: Notification, attempt: NoticeAttempt) -> None:
    """Into the log, whose oldest lines fall out, with what the outbox still knows of them."""
    session.add(attempt)
    row.error = attempt.error
    if not attempt.error:
        row.taken_at = attempt.at
    await session.flush()
    mine = NoticeAttempt.notification_id == row.id
    kept = select(NoticeAttempt.id).where(mine).order_by(NoticeAttempt.id.desc()).limit(KEPT_ATTEMPTS)
    oldest = min((await session.scalars(kept)).all())
    await session.execute(delete(NoticeAttempt).where(mine, NoticeAttempt.id < oldest))
    known = select(func.min(NoticeAttempt.outbox_id)).where(mine).scalar_subquery()
    await session.execute(
        delete(Outbox).where(Outbox.lane == lane_of(row.id), outbox.IS_OVER, Outbox.id < known)
    )


async def send_again(session: AsyncSession, row: Notification, attempt_id: int) -> None:
    """What this attempt told is told once more. Raises NotFound, Refused."""
    attempt = await session.get(NoticeAttempt, attempt_id)
    if attempt is None or attempt.notification_id != row.id:
        raise NotFound("there is no such attempt in its log")
    if row.paused_at is not None:
        raise Refused("it is paused, so nothing is sent", "resume it first")
    if attempt.run_id is None:
        raise Refused("that was a test", "send another one")
    told = None if attempt.outbox_id is None else await session.get(Outbox, attempt.outbox_id)
    about = {"notification": row.id, "run": attempt.run_id, "event": attempt.event}
    payload = about if told is None else dict(told.payload)
    key = f"{TOPIC}-{row.id}-again-{secrets.token_hex(8)}"
    outbox.put(session, TOPIC, key, payload, lane_of(row.id))


def check_wish(wish: Wish, settings: Settings) -> None:
    """Raises UserError, Refused."""
    if wish.kind not in KINDS:
        raise UserError(f"{wish.kind[:40]!r} is no kind of notification", f"there are {', '.join(KINDS)}")
    check_events(wish.events)
    check_branches("a notification", wish.branches)
    if wish.kind == MAIL:
        _check_mail(wish.target, settings)
        return
    check_url(wish.target, parse_networks(settings.callback_networks))
    if wish.kind == "ntfy" and not _TOPIC_NAME.fullmatch(urlsplit(wish.target).path):
        raise UserError("an address of ntfy names one topic", "for example https://ntfy.sh/our-runs-4f1c9a")
    if wish.secret and not (
        16 <= len(wish.secret) <= 200 and wish.secret.isascii() and wish.secret.isprintable()
    ):
        raise UserError("a secret has 16 to 200 printable ASCII characters", "or leave it out: one is made")


def _check_mail(address: str, settings: Settings) -> None:
    if not settings.smtp_url:
        raise Refused("this service sends no mail", "its operator can let it (HERMES_SMTP_URL)")
    if not is_mail_address(address):
        raise UserError(f"{address[:80]!r} is no address for mail", "for example ada@example.org")


def check_events(events: str) -> None:
    """Raises UserError."""
    if events not in EVENTS:
        raise UserError(f"{events[:40]!r} says not what is told", f"there are {', '.join(EVENTS)}")


def _shown(wish: Wish) -> str:
    """The host of an address, whose path is a secret; an address for mail is none."""
    if wish.kind == MAIL:
        return wish.target
    parts = urlsplit(wish.target)
    return f"{parts.scheme}://{parts.netloc}/…"
