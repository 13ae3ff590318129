"""What the server says about who is told how runs ended, typed."""

from typing import TypedDict


class Notification(TypedDict):
    """Who is told; `shown` is their address for mail, else the host: the rest is a secret. `branches` empty:
    the default branch, of your own runs all. `error` is that of the last try; "": it went well."""

    id: int
    kind: str
    shown: str
    events: str
    branches: list[str]
    user: str
    created_at: float
    taken_at: float | None
    error: str
    paused_at: float | None
    paused_why: str


class NotificationMade(Notification):
    """A new one; `secret` signs its webhooks, and is said this once."""

    secret: str


class NoticeAttempt(TypedDict):
    """One try to tell; `error` "": it was taken. `status` is that of the answer, if there was one."""

    id: int
    event: str
    run: int | None
    status: int | None
    error: str
    duration_s: float
    at: float
