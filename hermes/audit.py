"""The audit log: who did what that matters later, from where. Rows are only ever added."""

import time
from typing import NamedTuple

from sqlalchemy import insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from hermes.at_once import Ask
from hermes.columns import Base

#: All acts, in the order of a list to choose from.
ACTS = (
    "sign-in",
    "sign-in failed",
    "token made",
    "token revoked",
    "key added",
    "key removed",
    "repo settings",
    "collaborator",
    "secret set",
    "secret removed",
    "secret key rotated",
    "upstream connected",
    "upstream disconnected",
    "upstream denied",
    "notification added",
    "notification changed",
    "notification removed",
    "run cancelled",
    "run kept",
    "run kept no longer",
    "build cancelled",
    "function deleted",
    "schedule paused",
    "schedule resumed",
    "user made",
    "user disabled",
    "user enabled",
    "GPU released",
    "old data removed",
    "upload refused",
    "folder watched",
    "webhook refused",
    "commit let run",
    "fetch refused",
    "fetch asked for",
)
_MAX_WORDS = 500


class Audit(Base):
    """One act. Names, not ids: it is read when the account may be gone."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    user: Mapped[str] = mapped_column(index=True)
    address: Mapped[str]
    act: Mapped[str] = mapped_column(index=True)
    subject: Mapped[str]
    detail: Mapped[str]


_WRITE_DOWN = insert(Base.metadata.tables["audit"])


class Actor(NamedTuple):
    """Who acts: a user (""; nobody is signed in, or an operator on the machine), and from where."""

    user: str
    address: str


OPERATOR = Actor("", "hermes admin")  # who may type on the machine is asked for by its own log


def write_down(session: AsyncSession, by: Actor, act: str, subject: str = "", detail: str = "") -> None:
    """Add a row, in the transaction of the act itself where it has one: both are stored, or neither."""
    assert act in ACTS, act
    words = {"subject": subject[:_MAX_WORDS], "detail": detail[:_MAX_WORDS]}
    session.add(Audit(at=time.time(), user=by.user, address=by.address, act=act, **words))


def write_down_at_once(ask: Ask, by: Actor, act: str, subject: str, detail: str) -> None:
    """The same by a fixed statement."""
    assert act in ACTS, act
    words = {"subject": subject[:_MAX_WORDS], "detail": detail[:_MAX_WORDS]}
    ask(_WRITE_DOWN, at=time.time(), user=by.user, address=by.address, act=act, **words)


class Search(NamedTuple):
    """What is looked for; "" is everything. `who` is a user, or an address if it is one's beginning."""

    who: str = ""
    act: str = ""
    subject: str = ""


async def read_audit(session: AsyncSession, search: Search, before: int, limit: int) -> list[Audit]:
    """The newest first; `before`: older than this row, 0: from the newest."""
    query = select(Audit).order_by(Audit.id.desc()).limit(limit)
    if search.who:
        query = query.where(
            or_(Audit.user == search.who, Audit.address.startswith(search.who, autoescape=True))
        )
    if search.act:
        query = query.where(Audit.act == search.act)
    if search.subject:
        query = query.where(Audit.subject.contains(search.subject, autoescape=True))
    if before:
        query = query.where(Audit.id < before)
    return list((await session.scalars(query)).all())
