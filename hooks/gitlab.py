"""The events of GitLab. https://docs.gitlab.com/user/project/integrations/webhook_events/"""

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


def full_name(payload: Payload) -> str:
    """Of the project that it is about."""
    return payload.text("project.path_with_namespace", "")


def read(kind: str, event: str, payload: Payload) -> Outcome:
    """What it asks for. Raises BadEvent."""
    reader = _READERS.get(event)
    return Ignored(f"nothing follows from {event[:60]}") if reader is None else reader(kind, payload)


def _push(kind: str, payload: Payload) -> Outcome:
    return pushed(kind, payload.text("ref"), payload.sha("after"), payload.text("user_username", "somebody"))


def _merge_request(kind: str, payload: Payload) -> Outcome:
    number, action = payload.number("object_attributes.iid"), payload.text("object_attributes.action", "")
    source, target = payload.get("object_attributes.source_project_id"), payload.get("project.id")
    sha, sender = payload.sha("object_attributes.last_commit.id"), payload.text("user.username", "somebody")
    is_own = source is not None and source == target
    is_new = action in ("open", "reopen") or (action == "update" and payload.get("object_attributes.oldrev"))
    if is_new and is_own:
        return proposed(kind, number, payload.text("object_attributes.source_branch"), sha, sender)
    if is_new:
        return stranger(kind, number, sha, sender, payload.time("object_attributes.updated_at"))
    if is_own:
        return Ignored(f"nothing follows from {action[:60]}: its branch is run when it is pushed")
    if action in ("close", "merge"):
        return closed(kind, number, sender)
    labels = [payload.names(f"changes.labels.{which}", "title") for which in ("current", "previous")]
    fresh = labels[0] - labels[1]
    if action == "update" and LABEL in fresh:  # who may set one is at least a reporter there
        return Approval(number, sha, sender)
    return Ignored(f"nothing follows from {action[:60]}")


def _note(_kind: str, payload: Payload) -> Outcome:
    is_command, sha = command_of(payload.text("object_attributes.note", ""))
    is_of_merge_request = payload.text("object_attributes.noteable_type", "") == "MergeRequest"
    is_new = payload.text("object_attributes.action", "") == "create"  # GitLab before 16.11 does not say it
    if not is_new or not is_command or not is_of_merge_request:
        return Ignored("it is not a new comment `/hermes run` on a merge request")
    author = Author(payload.text("user.username"), payload.number("user.id"))
    if payload.get("object_attributes.author_id") != author.user_id:
        return Ignored("it is not sent by who has written it")
    number, at = payload.number("merge_request.iid"), payload.time("object_attributes.created_at")
    return commented(number, sha, author, at, payload.sha("merge_request.last_commit.id"))


def _release(kind: str, payload: Payload) -> Outcome:
    if payload.text("action", "") != "create":
        return Ignored("nothing follows but from a new one")
    return released(kind, payload.text("tag"), payload.text("commit.author.name", "somebody"))


_READERS: dict[str, Callable[[str, Payload], Outcome]] = {
    "Push Hook": _push,
    "Tag Push Hook": _push,
    "Merge Request Hook": _merge_request,
    "Note Hook": _note,
    "Release Hook": _release,
}
