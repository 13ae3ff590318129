"""Of the client that does not wait; written by scripts/async-client from `hermes.client.notifying_async`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from hermes.client.calls import Call, quoted
from hermes.client.notification_answers import NoticeAttempt, Notification, NotificationMade

_SILENCE_S = 150.0  # of a test: its receiver may be slow


def _path(repo: str, *parts: object) -> str:
    base = f"/repos/{quoted(repo)}/notifications" if repo else "/notifications"
    return "/".join((base, *map(str, parts)))


class AsyncNotifying(ABC):
    """With `repo` (`owner/name`) they are about that one; who may push there may."""

    @abstractmethod
    async def ask(self, call: Call) -> Any:
        """The JSON that answers a request. Raises ApiError."""

    async def notifications(self, repo: str = "") -> list[Notification]:
        """Who is told, the oldest first. Raises Missing, Forbidden."""
        said: Any = await self.ask(Call("GET", _path(repo)))
        found: list[Notification] = said["notifications"]
        return found

    async def notification(self, number: int, repo: str = "") -> Notification:
        """One of them. Raises Missing, Forbidden."""
        found: Notification = await self.ask(Call("GET", _path(repo, number)))
        return found

    async def add_notification(
        self,
        kind: str,
        target: str,
        repo: str = "",
        *,
        events: str = "changes",
        branches: Sequence[str] = (),
        secret: str = "",
    ) -> NotificationMade:
        """Tell an address: `kind` is `webhook`, `mail`, `slack` …, `events` `changes`, `failures` or `all`;
        without a secret one is made. Raises Missing, Forbidden, ApiError where a value is wrong."""
        wish = {"kind": kind, "target": target, "events": events, "branches": list(branches)}
        made: NotificationMade = await self.ask(Call("POST", _path(repo), json=wish | {"secret": secret}))
        return made

    async def change_notification(
        self,
        number: int,
        repo: str = "",
        *,
        events: str | None = None,
        branches: Sequence[str] | None = None,
        paused: bool | None = None,
    ) -> Notification:
        """Tell of other runs, pause or resume it; what is None stays. Raises Missing, Forbidden, ApiError."""
        wish = {"events": events, "branches": None if branches is None else list(branches), "paused": paused}
        given = {name: value for name, value in wish.items() if value is not None}
        said: Notification = await self.ask(Call("PATCH", _path(repo, number), json=given))
        return said

    async def remove_notification(self, number: int, repo: str = "") -> None:
        """Tell them no more; its log goes, too. Raises Missing, Forbidden."""
        await self.ask(Call("DELETE", _path(repo, number)))

    async def test_notification(self, number: int, repo: str = "") -> NoticeAttempt:
        """Send a test message now, and say what came of it. Raises Missing, Forbidden."""
        tried: NoticeAttempt = await self.ask(Call("POST", _path(repo, number, "test"), silence_s=_SILENCE_S))
        return tried

    async def notification_attempts(self, number: int, repo: str = "") -> list[NoticeAttempt]:
        """The last tries, the newest first. Raises Missing, Forbidden."""
        said: Any = await self.ask(Call("GET", _path(repo, number, "attempts")))
        found: list[NoticeAttempt] = said["attempts"]
        return found

    async def notify_again(self, number: int, attempt: int, repo: str = "") -> None:
        """Send once more what an attempt has told. Raises Missing, Forbidden."""
        await self.ask(Call("POST", _path(repo, number, "attempts", attempt, "again")))
