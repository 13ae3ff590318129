"""The rows of messages from others and to others; part of `hermes.tables`."""

from sqlalchemy import JSON, Index, Integer
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
    __table_args__ = (Index("outbox_due", "topic", "sent_at", "next_at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    topic: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    payload: Mapped[Json] = mapped_column(JSON)
    created_at: Mapped[float]
    sent_at: Mapped[float | None]
    tries: Mapped[int] = mapped_column(Integer, default=0)
    next_at: Mapped[float] = mapped_column(default=0.0)  # not before
    error: Mapped[str] = mapped_column(default="")  # of the last try
