"""The events of GitHub, and of Gitea and Forgejo, which say the same in nearly the same words.

https://docs.github.com/en/webhooks/webhook-events-and-payloads · https://docs.gitea.com/usage/webhooks"""

from collections.abc import Callable

from hermes.forges.base import Author
from hooks.events import (
    LABEL,
    Approval,
    Ignored,
    Outcome,
    Payload,
    closed,
    command_of,
    commented,
    proposed,
    pushed,
    released,
    stranger,
)

_MAY_RUN = ("OWNER", "MEMBER", "COLLABORATOR")  # some of them may only read
_NEW_COMMIT = ("opened", "synchronize", "synchronized", "reopened")


def full_name(payload: Payload) -> str:
    """Of the repository that it is about."""
    return payload.text("repository.full_name", "")


def read(kind: str, event: str, payload: Payload) -> Outcome:
    """What it asks for. Raises BadEvent."""
    reader = _READERS.get(event)
    return Ignored(f"nothing follows from {event[:60]}") if reader is None else reader(kind, payload)


def _sender(payload: Payload) -> str:
    return payload.text("sender.login", "") or payload.text("pusher.name", "somebody")


def _ping(_kind: str, _payload: Payload) -> Outcome:
    return Ignored("pong")


def _push(kind: str, payload: Payload) -> Outcome:
    return pushed(kind, payload.text("ref"), payload.sha("after"), _sender(payload))


def _pull_request(kind: str, payload: Payload) -> Outcome:
    number, action = payload.number("number"), payload.text("action")
    is_own = payload.text("pull_request.head.repo.full_name", "") == full_name(payload)
    sha, sender = payload.sha("pull_request.head.sha"), _sender(payload)
    if action in _NEW_COMMIT:
        author = payload.text("pull_request.user.login", sender)
        if is_own:
            return proposed(kind, number, payload.text("pull_request.head.ref"), sha, author)
        return stranger(kind, number, sha, author, payload.time("pull_request.updated_at"))
    if is_own:
        return Ignored(f"nothing follows from {action[:60]}: its branch is run when it is pushed")
    if action == "closed":
        return closed(kind, number, sender)
    if action == "labeled" and payload.text("label.name", "") == LABEL:
        return Approval(number, sha, sender)
    return Ignored(f"nothing follows from {action[:60]}")


def _comment(kind: str, payload: Payload) -> Outcome:
    is_command, sha = command_of(payload.text("comment.body", ""))
    is_of_pull = payload.get("issue.pull_request") is not None or payload.get("is_pull") is True
    if payload.text("action") != "created" or not is_command or not is_of_pull:
        return Ignored("it is not a new comment `/hermes run` on a pull request")
    author = Author(payload.text("comment.user.login"), payload.number("comment.user.id"))
    if payload.get("sender.id") != author.user_id:
        return Ignored("it is not sent by who has written it")
    number, at = payload.number("issue.number"), payload.time("comment.created_at")
    is_said = kind == "github" and payload.text("comment.author_association", "") in _MAY_RUN
    return commented(number, sha, author, at)._replace(is_said=is_said)


def _release(kind: str, payload: Payload) -> Outcome:
    if payload.text("action") != "published" or payload.get("release.draft") is True:
        return Ignored("nothing follows until it is published")
    return released(kind, payload.text("release.tag_name"), _sender(payload))


_READERS: dict[str, Callable[[str, Payload], Outcome]] = {
    "ping": _ping,
    "push": _push,
    "pull_request": _pull_request,
    "issue_comment": _comment,
    "release": _release,
}
