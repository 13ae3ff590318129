"""The API's models about notifications: what programs send, and what they get."""

from typing import Annotated

from pydantic import BaseModel, Field

from hermes.notifications import KINDS
from hermes.tables import NoticeAttempt, Notification
from web.reading import Body

_KIND = Field(pattern=f"^({'|'.join(KINDS)})$", description=" · ".join(KINDS))
_EVENTS = Field(pattern="^(changes|failures|all)$", description="`changes`: only broke and fixed")


class NotificationAnswer(BaseModel):
    """One; `shown` is its address for mail, else its host: the rest is a secret. `branches` empty: the
    default branch, of your own runs all. `error` is that of the last try."""

    id: int
    kind: str
    shown: str
    events: str
    branches: list[str]
    user: str  # who made it
    created_at: float
    taken_at: float | None
    error: str
    paused_at: float | None
    paused_why: str


class NotificationMade(NotificationAnswer):
    """A new one; `secret` signs its webhooks and is shown this once."""

    secret: str


class NotificationList(BaseModel):
    """All of one repository, or of a user."""

    notifications: list[NotificationAnswer]


class AttemptAnswer(BaseModel):
    """One try to tell; `error` empty: it was taken. `status` is that of the answer, if there was one."""

    id: int
    event: str
    run: int | None
    status: int | None
    error: str
    duration_s: float
    at: float


class AttemptList(BaseModel):
    """The newest ones first."""

    attempts: list[AttemptAnswer]


class NotificationWish(Body):
    """One that is to be made; `secret` (16 to 200 characters) signs webhooks, without it one is made."""

    kind: Annotated[str, _KIND]
    target: Annotated[str, Field(max_length=2000, description="an http(s) address, or one for mail")]
    events: Annotated[str, _EVENTS] = "changes"
    branches: Annotated[list[str], Field(max_length=20, description="names or patterns")] = Field(
        default_factory=list
    )
    secret: Annotated[str, Field(max_length=200)] = ""


class NotificationChange(Body):
    """What is to be another way; what is left out stays."""

    events: Annotated[str | None, _EVENTS] = None
    branches: Annotated[list[str] | None, Field(max_length=20, description="names or patterns")] = None
    paused: bool | None = None


def notification_answer(row: Notification, user: str) -> NotificationAnswer:
    """From its row and the name of who made it."""
    return NotificationAnswer(
        id=row.id,
        kind=row.kind,
        shown=row.shown,
        events=row.events,
        branches=row.branches,
        user=user,
        created_at=row.created_at,
        taken_at=row.taken_at,
        error=row.error,
        paused_at=row.paused_at,
        paused_why=row.paused_why,
    )


def attempt_answer(row: NoticeAttempt) -> AttemptAnswer:
    """From its row."""
    return AttemptAnswer(
        id=row.id,
        event=row.event,
        run=row.run_id,
        status=row.status,
        error=row.error,
        duration_s=row.duration_s,
        at=row.at,
    )
