"""The rows of messages from others and to others; part of `hermes.tables`."""

from sqlalchemy import JSON, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base, Json


class WebhookDelivery(Base):
    """A delivery that was seen, so that a second one does nothing."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (Index("webhook_delivery_age", "received_at"),)
    source: Mapped[str] = mapped_column(primary_key=True)  # the kind of forge, and the repository here
    delivery_id: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str]
    received_at: Mapped[float]


class Outbox(Base):
    """A message to somebody else, sent at least once (hermes.outbox)."""

    __tablename__ = "outbox"
    __table_args__ = (Index("outbox_due", "topic", "sent_at", "next_at"), Index("outbox_lane", "lane", "id"))
    id: Mapped[int] = mapped_column(primary_key=True)
    topic: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    payload: Mapped[Json] = mapped_column(JSON)
    created_at: Mapped[float]
    sent_at: Mapped[float | None]
    tries: Mapped[int] = mapped_column(Integer, default=0)
    next_at: Mapped[float] = mapped_column(default=0.0)  # not before
    error: Mapped[str] = mapped_column(default="")  # of the last try
    lane: Mapped[str] = mapped_column(default="")  # of those in one lane a single one is on its way at a time


class Notification(Base):
    """Who is told how runs ended: those of a repository, or (`repo_id` None) those of a user.

    Where to is sealed (hermes.sealed): an address of a chat is a secret."""

    __tablename__ = "notification"
    __table_args__ = (
        Index("notification_repo", "repo_id", "id"),
        Index("notification_user", "user_id", "id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))  # whose it is; of a repository's: who made it
    repo_id: Mapped[int | None] = mapped_column(ForeignKey("repo.id"))
    kind: Mapped[str]  # of hermes.notifications.KINDS
    shown: Mapped[str]  # of where to, as much as may be seen
    events: Mapped[str]  # of hermes.notices.EVENTS
    branches: Mapped[list[str]] = mapped_column(JSON)  # patterns; none: the default branch, of a user's all
    created_at: Mapped[float]
    taken_at: Mapped[float | None]  # when a message arrived last
    error: Mapped[str] = mapped_column(default="")  # of the last try
    paused_at: Mapped[float | None]
    paused_why: Mapped[str] = mapped_column(default="")


class NoticeAttempt(Base):
    """One try to tell, of the newest ones of a notification. Names, not rows: what it told may be gone."""

    __tablename__ = "notice_attempt"
    __table_args__ = (Index("notice_attempt_of", "notification_id", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    notification_id: Mapped[int] = mapped_column(ForeignKey("notification.id"))
    outbox_id: Mapped[int | None]  # None: a test
    event: Mapped[str]
    run_id: Mapped[int | None]
    status: Mapped[int | None] = mapped_column(Integer)  # of the answer, if there was one
    error: Mapped[str] = mapped_column(default="")  # empty: it was taken
    duration_s: Mapped[float]
    at: Mapped[float]
