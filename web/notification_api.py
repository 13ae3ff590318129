"""`/api/v1/notifications` and `/api/v1/repos/…/notifications`: who is told how runs ended."""

from hermes.notifications import Wish
from web.endpoint import Asked, Endpoint, Id, Name
from web.notification_acts import Asker, Change, NotificationActs
from web.notification_answers import (
    AttemptAnswer,
    AttemptList,
    NotificationAnswer,
    NotificationChange,
    NotificationList,
    NotificationMade,
    NotificationWish,
    attempt_answer,
    notification_answer,
)
from web.site import Site


class NotificationApi:
    """The handlers: of repositories, for who may push there; of users, for themselves."""

    def __init__(self, acts: NotificationActs) -> None:
        self._acts = acts

    async def list_notifications(self, asked: Asked) -> NotificationList:
        """Who is told of your runs."""
        return await self._list(self._mine(asked))

    async def add_notification(self, asked: Asked, body: NotificationWish) -> NotificationMade:
        """Have somebody told of your runs.

        The secret that signs its webhooks is in this answer and nowhere else."""
        return await self._add(self._mine(asked), body)

    async def get_notification(self, asked: Asked, notification: Id) -> NotificationAnswer:
        """Who is told, and how the last try went."""
        return await self._get(self._mine(asked), notification)

    async def change_notification(
        self, asked: Asked, notification: Id, body: NotificationChange
    ) -> NotificationAnswer:
        """Tell of other runs, pause or resume."""
        return await self._change(self._mine(asked), notification, body)

    async def delete_notification(self, asked: Asked, notification: Id) -> None:
        """Tell them no more."""
        await self._acts.remove(self._mine(asked), notification)

    async def list_attempts(self, asked: Asked, notification: Id) -> AttemptList:
        """The last tries to tell them."""
        return await self._attempts(self._mine(asked), notification)

    async def test_notification(self, asked: Asked, notification: Id) -> AttemptAnswer:
        """Send a test message now, and say what came of it."""
        return attempt_answer(await self._acts.test(self._mine(asked), notification))

    async def send_again(self, asked: Asked, notification: Id, attempt: Id) -> None:
        """Send once more what an attempt has told."""
        await self._acts.again(self._mine(asked), notification, attempt)

    async def list_repo_notifications(self, asked: Asked, owner: Name, repo: Name) -> NotificationList:
        """Who is told of the runs of a repository."""
        return await self._list(await self._of(asked, owner, repo))

    async def add_repo_notification(
        self, asked: Asked, owner: Name, repo: Name, body: NotificationWish
    ) -> NotificationMade:
        """Have somebody told of the runs of a repository.

        The secret that signs its webhooks is in this answer and nowhere else."""
        return await self._add(await self._of(asked, owner, repo), body)

    async def get_repo_notification(
        self, asked: Asked, owner: Name, repo: Name, notification: Id
    ) -> NotificationAnswer:
        """Who is told of a repository, and how the last try went."""
        return await self._get(await self._of(asked, owner, repo), notification)

    async def change_repo_notification(
        self, asked: Asked, owner: Name, repo: Name, notification: Id, body: NotificationChange
    ) -> NotificationAnswer:
        """Tell of other runs of a repository, pause or resume."""
        return await self._change(await self._of(asked, owner, repo), notification, body)

    async def delete_repo_notification(self, asked: Asked, owner: Name, repo: Name, notification: Id) -> None:
        """Tell them no more of a repository."""
        await self._acts.remove(await self._of(asked, owner, repo), notification)

    async def list_repo_attempts(
        self, asked: Asked, owner: Name, repo: Name, notification: Id
    ) -> AttemptList:
        """The last tries to tell them of a repository."""
        return await self._attempts(await self._of(asked, owner, repo), notification)

    async def test_repo_notification(
        self, asked: Asked, owner: Name, repo: Name, notification: Id
    ) -> AttemptAnswer:
        """Send a test message of a repository now, and say what came of it."""
        return attempt_answer(await self._acts.test(await self._of(asked, owner, repo), notification))

    async def send_repo_again(
        self, asked: Asked, owner: Name, repo: Name, notification: Id, attempt: Id
    ) -> None:
        """Send once more what an attempt has told of a repository."""
        await self._acts.again(await self._of(asked, owner, repo), notification, attempt)

    def _mine(self, asked: Asked) -> Asker:
        return self._acts.of_user(asked.user, asked.by)

    async def _of(self, asked: Asked, owner: str, name: str) -> Asker:
        return await self._acts.of_repo(asked.user, asked.by, owner, name)

    async def _list(self, asker: Asker) -> NotificationList:
        found = await self._acts.all(asker)
        return NotificationList(notifications=[notification_answer(*each) for each in found])

    async def _add(self, asker: Asker, body: NotificationWish) -> NotificationMade:
        wish = Wish(body.kind, body.target, body.events, tuple(body.branches), body.secret)
        row, secret = await self._acts.add(asker, wish)
        answer = notification_answer(row, asker.whose.user.name)
        return NotificationMade(**answer.model_dump(), secret=secret)

    async def _get(self, asker: Asker, notification: int) -> NotificationAnswer:
        return notification_answer(*await self._acts.find(asker, notification))

    async def _change(self, asker: Asker, notification: int, body: NotificationChange) -> NotificationAnswer:
        change = Change(body.events, body.branches, body.paused)
        await self._acts.change(asker, notification, change)
        return await self._get(asker, notification)

    async def _attempts(self, asker: Asker, notification: int) -> AttemptList:
        rows = await self._acts.attempts(asker, notification)
        return AttemptList(attempts=[attempt_answer(each) for each in rows])


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api = NotificationApi(NotificationActs(site))
    mine, of_repo = "/notifications", "/repos/{owner}/{repo}/notifications"
    one, again = "/{notification}", "/{notification}/attempts/{attempt}/again"
    return [
        Endpoint("GET", mine, api.list_notifications),
        Endpoint("POST", mine, api.add_notification, 201, errors=(403,)),
        Endpoint("GET", mine + one, api.get_notification),
        Endpoint("PATCH", mine + one, api.change_notification, errors=(403,)),
        Endpoint("DELETE", mine + one, api.delete_notification, 204),
        Endpoint("GET", f"{mine}{one}/attempts", api.list_attempts),
        Endpoint("POST", f"{mine}{one}/test", api.test_notification, errors=(403,)),
        Endpoint("POST", mine + again, api.send_again, 204, errors=(403,)),
        Endpoint("GET", of_repo, api.list_repo_notifications, errors=(403,)),
        Endpoint("POST", of_repo, api.add_repo_notification, 201, errors=(403,)),
        Endpoint("GET", of_repo + one, api.get_repo_notification, errors=(403,)),
        Endpoint("PATCH", of_repo + one, api.change_repo_notification, errors=(403,)),
        Endpoint("DELETE", of_repo + one, api.delete_repo_notification, 204, errors=(403,)),
        Endpoint("GET", f"{of_repo}{one}/attempts", api.list_repo_attempts, errors=(403,)),
        Endpoint("POST", f"{of_repo}{one}/test", api.test_repo_notification, errors=(403,)),
        Endpoint("POST", of_repo + again, api.send_repo_again, 204, errors=(403,)),
    ]
