"""GitLab: https://docs.gitlab.com/api; a pull request is a merge request there, a comment a note."""

from dataclasses import dataclass
from typing import Any, ClassVar

from hermes.forges.base import (
    CONTEXT,
    Author,
    Base,
    Hook,
    Outcome,
    Seen,
    Status,
    number_of,
    quoted,
    row_id,
    short,
    text_of,
)
from hermes.forges.repository import Repository
from hermes.forges.talk import Rejected

_MOST_DESCRIPTION = 255
_STATES = {
    Outcome.WAITING: "pending",
    Outcome.RUNNING: "running",
    Outcome.SUCCEEDED: "success",
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "canceled",
    Outcome.LOST: "failed",
}
_DEVELOPER, _MAINTAINER = 30, 40  # levels of access
_EVENTS = ("push_events", "tag_push_events", "merge_requests_events", "note_events", "releases_events")


@dataclass(frozen=True)
class GitLab(Repository):
    """One project, by its path."""

    login: ClassVar[str] = "username"
    author: ClassVar[str] = "author"
    keys: ClassVar[str] = "deploy_keys"
    reads_only: ClassVar[tuple[str, bool]] = ("can_push", False)

    @property
    def at(self) -> str:
        """Its path."""
        return f"/projects/{quoted(self.name)}"

    async def look(self) -> Seen:
        """https://docs.gitlab.com/api/projects"""
        said = (await self.talk.ask("GET", self.at)).said
        may = said.get("permissions") or {}
        parts = [may.get(each) or {} for each in ("project_access", "group_access")]
        level = max(int(part.get("access_level") or 0) for part in parts)
        lacks = []
        if level < _DEVELOPER:
            lacks.append(f"the role Developer in {self.name}, which commit statuses need")
        if level < _MAINTAINER:
            lacks.append(f"the role Maintainer in {self.name}, which webhooks need")
        name = text_of(said, "path_with_namespace")
        is_private = text_of(said, "visibility") != "public"
        return Seen(name, is_private, tuple(lacks), text_of(said, "ssh_url_to_repo"))

    async def put_status(self, status: Status) -> None:
        """https://docs.gitlab.com/api/commits: a state that it has already is refused, and is no fault."""
        body = {
            "state": _STATES[status.outcome],
            "target_url": status.url,
            "description": short(status.words, _MOST_DESCRIPTION),
            "name": CONTEXT,
        }
        try:
            await self.talk.ask("POST", f"{self.at}/statuses/{status.sha}", body)
        except Rejected as error:
            if error.status != 400 or "transition" not in str(error).lower():
                raise

    async def base_of(self, number: int) -> Base:
        """https://docs.gitlab.com/api/merge_requests"""
        said = (await self.talk.ask("GET", f"{self.at}/merge_requests/{number}")).said
        return Base(text_of(said, "target_branch"), text_of(said, "diff_refs", "base_sha"))

    def member(self, author: Author) -> str:
        """https://docs.gitlab.com/api/project_members: with those of its groups and of invited ones."""
        return f"{self.at}/members/all/{author.user_id}"

    def is_writer(self, said: Any, author: Author) -> bool:
        """Of one whose membership is still to be approved that is said, too."""
        is_same = number_of(said, "id") == author.user_id
        is_active = text_of(said, "state") == "active" and text_of(said, "membership_state") in ("", "active")
        return is_same and is_active and (number_of(said, "access_level") or 0) >= _DEVELOPER

    def comments(self, number: int) -> str:
        """Of a merge request."""
        return f"{self.at}/merge_requests/{number}/notes"

    async def put_comment(self, number: int, body: str, comment: str = "") -> str:
        """https://docs.gitlab.com/api/notes"""
        path = self.comments(number)
        method = "PUT" if comment else "POST"
        reply = await self.talk.ask(method, f"{path}/{comment}" if comment else path, {"body": body})
        return row_id(reply.said)

    async def put_hook(self, hook: Hook) -> bool:
        """https://docs.gitlab.com/api/project_webhooks"""
        body: dict[str, Any] = dict.fromkeys(_EVENTS, True)
        body |= {"url": hook.url, "token": hook.secret, "enable_ssl_verification": True}
        found = await self.find_hook(hook.url)
        await self.talk.ask("PUT" if found else "POST", f"{self.at}/hooks{'/' * bool(found)}{found}", body)
        return not found
